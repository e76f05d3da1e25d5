"""Looking at certificates: when it is time, when asked, and what is said of wrong ones."""

import logging
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from kproxy.transport.certificates import Credentials
from kproxy.transport.renewal import LOOK, Renewal
from tests.fakes.hubbed import until
from tests.fakes.tls import write_files


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Looked(Credentials):
    """Counts the looks."""

    looks = 0

    def renew(self) -> bool:
        try:
            return super().renew()
        finally:
            self.looks += 1


async def test_changed_files_are_found_in_time_and_when_asked(
    tmp_path: Path, authority: trustme.CA, mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = Looked(write_files(tmp_path, authority))
    renewal = Renewal([one])
    nursery.start_soon(renewal.run)
    first = one.context
    write_files(tmp_path, authority)
    await trio.testing.wait_all_tasks_blocked()
    assert one.looks == 0
    mock_clock.jump(LOOK)
    await until(lambda: one.looks == 1)
    second = one.context
    assert second is not first
    write_files(tmp_path, authority)
    assert renewal.ask()
    await until(lambda: one.looks == 2)
    assert one.context is not second


async def test_a_wrong_file_is_named_once_and_again_when_asked(
    tmp_path: Path,
    authority: trustme.CA,
    mock_clock: MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = write_files(tmp_path, authority)
    one = Looked(files)
    context, renewal = one.context, Renewal([one])
    nursery.start_soon(renewal.run)
    files.certificate.unlink()
    while one.looks < 3:
        mock_clock.jump(LOOK)
        await trio.lowlevel.checkpoint()
    await until(lambda: caplog.records)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"the certificate in force stays: certificate: the file {files.certificate} "
        "cannot be read: No such file or directory"
    ]
    assert one.context is context
    renewal.ask()
    await until(lambda: len(caplog.records) == 2)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    write_files(tmp_path, authority)
    renewal.ask()
    await until(lambda: len(caplog.records) == 3)
    assert one.context is not context
    assert caplog.records[-1].getMessage() == (
        f"new connections get the certificate in {files.certificate}"
    )


async def test_one_wrong_file_keeps_no_other_from_being_renewed(
    tmp_path: Path, authority: trustme.CA, nursery: trio.Nursery
) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    wrong, right = (Looked(write_files(folder, authority)) for folder in folders)
    renewal, context = Renewal([wrong, right]), right.context
    nursery.start_soon(renewal.run)
    wrong.files.certificate.write_text("nonsense")
    write_files(folders[1], authority)
    renewal.ask()
    await until(lambda: right.context is not context)


async def test_without_certificates_nothing_is_looked_at(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    renewal = Renewal([])
    nursery.start_soon(renewal.run)
    assert not renewal.ask()
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(LOOK * 10)
    await trio.testing.wait_all_tasks_blocked()
