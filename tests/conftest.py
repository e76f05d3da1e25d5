"""What holds for every test: no network, fixed examples under CI, and no silent skips there.

1. A test reaches no network. One marked `loopback` may use the loopback interface and nothing
   else; any other may not connect or bind an internet socket at all. Pipes, socket pairs and unix
   sockets stay open to everyone: trio wakes itself through one.
2. Names are not looked up, except `localhost`. In a `loopback` test a name under `.invalid` does
   not exist, as RFC 6761 section 6.4 says, so that a failed lookup can be tested.
3. Under CI=true a test that lacks its program fails; elsewhere it is skipped and says why.
"""

import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

CI = os.environ.get("CI", "").lower() in {"1", "true"}
INTERNET = (socket.AF_INET, socket.AF_INET6)

# A slow machine makes neither a deadline nor the generation of examples a defect.
COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=100, **COMMON)
settings.register_profile("thorough", max_examples=5_000, **COMMON)
settings.register_profile("vast", max_examples=100_000, **COMMON)
settings.register_profile("ci", max_examples=100, derandomize=True, print_blob=True, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if CI else "dev"))


def is_loopback(host: object) -> bool:
    """An address of the loopback interface, written as numbers."""
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def refuse(what: str) -> None:
    """Fail the test. Not an Exception, so that no code under test can swallow it."""
    pytest.fail(f"{what}: a test reaches no network (see tests/conftest.py)")


@contextmanager
def no_network(*, loopback: bool) -> Iterator[None]:
    """Inside, internet sockets reach the loopback interface if `loopback`, else nothing.

    Patched are the calls that leave the process, not the making of a socket: a socket that was
    never connected or bound does no harm, and multiprocessing and trio make some.
    """
    real_lookup = socket.getaddrinfo

    def guarded(name: str) -> Callable[..., Any]:
        real = getattr(socket.socket, name)

        def call(sock: socket.socket, *args: Any) -> Any:
            if sock.family in INTERNET:
                address = args[-1]  # sendto(data, address), sendto(data, flags, address)
                if not loopback:
                    refuse(f"{name}{address} in a test that is not marked `loopback`")
                if address[0] != "localhost" and not is_loopback(address[0]):
                    refuse(f"{name}{address} in a `loopback` test")
            return real(sock, *args)

        return call

    def lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode("ascii") if isinstance(host, bytes) else host
        flags = kwargs.get("flags", args[4] if len(args) > 4 else 0)
        if loopback and str(name).rstrip(".").endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name in {None, "", "localhost"} or flags & socket.AI_NUMERICHOST or _is_address(name):
            return real_lookup(host, *args, **kwargs)
        return refuse(f"looking up {name!r}")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("bind", "connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(name))
        patch.setattr(socket, "getaddrinfo", lookup)
        yield


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Around setup, call and teardown; no fixture, which hypothesis and trio would have to know."""
    with no_network(loopback=item.get_closest_marker("loopback") is not None):
        return (yield)


def missing(program: str, *, ci: bool) -> None:
    """Under CI a failure, elsewhere a skip; both name the program."""
    if ci:
        pytest.fail(f"{program} is not installed, and CI skips nothing")
    pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """`require("nginx")`: the path of a program, from this virtual environment or the system."""

    def find(program: str) -> str:
        # Not resolved: the interpreter of a virtual environment is a link out of it.
        beside = str(Path(sys.executable).parent)
        places = os.pathsep.join([beside, os.environ.get("PATH", os.defpath), "/usr/sbin"])
        path = shutil.which(program, path=places)
        if path is None:
            missing(program, ci=CI)
        assert path is not None
        return path

    return find
