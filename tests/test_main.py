"""`python -m kproxy` as a script would run it."""

import json
import os
import subprocess
import sys

import pytest

from kproxy import __main__
from kproxy.admission.keys import digest
from kproxy.store.keystore import open_keystore


def run(tmp_path, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "kproxy", *arguments],
        env=os.environ | {"KPROXY_DATA_DIR": str(tmp_path / "data"), "KPROXY_CONFIG": ""},
        capture_output=True,
        text=True,
    )


def test_a_script_gets_a_key_that_a_running_server_accepts_at_once(tmp_path):
    server = open_keystore(tmp_path / "data")
    assert server.lookup(bytes(32)) is None
    done = run(tmp_path, "keys", "create", "--account", "ci", "--tier", "team", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    created = json.loads(done.stdout)
    found = digest(created["key"].encode())
    assert server.lookup(found).account.name == "ci"
    assert run(tmp_path, "keys", "revoke", created["id"]).returncode == 0
    assert server.lookup(found) is None
    server.close()


def test_status_1_for_a_refusal_and_2_for_wrong_use(tmp_path):
    assert run(tmp_path, "accounts", "create", "ci", "--tier", "team").returncode == 0
    refused = run(tmp_path, "keys", "revoke", "key_unknown")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "Error: there is no key 'key_unknown' in force\n"
    assert run(tmp_path, "keys", "revoke").returncode == 2


def test_main_exits(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kproxy", "--version"])
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    assert caught.value.code == 0


_IMPORTED = "import sys, kproxy; print(sorted(name for name in sys.modules if 'kproxy' in name))"


def test_importing_the_package_imports_nothing_else():
    done = subprocess.run([sys.executable, "-c", _IMPORTED], capture_output=True, text=True)
    assert done.stdout == "['kproxy']\n"
