"""The route table, walked: each route with each kind of key that is not good answers its role."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.routes import ROUTES
from kproxy.store.keystore import KeyStore, open_keystore
from kproxy.store.memories import MemoriesParams
from kproxy.store.receipts import open_receipts
from tests.fakes.house import House, model
from tests.fakes.remembered import Inline

ROLES = {"public": 200, "key": 401}
"""What each role answers to whoever shows no good key."""

STRANGER = {
    ("POST", "/v1/chat/completions"): 400,  # known, and its empty body refused
    ("POST", "/v1/compare"): 400,  # likewise
    ("GET", "/v1/models"): 200,
    ("GET", "/v1/models/{id}"): 200,
    ("GET", "/v1/performance"): 200,
    ("GET", "/v1/receipts"): 200,  # its own receipts
    ("GET", "/v1/receipts/{id}"): 404,
    ("GET", "/v1/memories"): 200,  # its own, here none
    ("DELETE", "/v1/memories"): 200,
    ("DELETE", "/v1/memories/{id}"): 404,
    ("GET", "/api/auth"): 200,  # its own keys
    ("POST", "/api/auth"): 400,
    ("DELETE", "/api/auth/{id}"): 404,
    ("PATCH", "/api/auth/{id}"): 404,
    ("GET", "/livez"): 200,
    ("GET", "/readyz"): 200,
    ("GET", "/healthz"): 200,
    ("GET", "/metrics"): 200,
}
"""What another account's key gets where the path names the first account's key or a model."""

WALK = [
    pytest.param(
        method.decode(), path.decode(), route.role, id=f"{method.decode()} {path.decode()}"
    )
    for path, methods in ROUTES.items()
    for method, route in methods.items()
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    store = open_keystore(tmp_path)
    store.create_account("first", "unlimited", 0)
    store.create_account("second", "unlimited", 0)
    yield store
    store.close()


@pytest.fixture
def house(
    autojump_clock: MockClock, nursery: trio.Nursery, store: KeyStore, tmp_path: Path
) -> Iterator[House]:
    shelf = open_receipts(tmp_path)
    memories = Inline(tmp_path, MemoriesParams())
    yield House(nursery, models=[model("a/m")], store=store, shelf=shelf, memories=memories)
    shelf.close()
    memories.close()


def bad_keys(store: KeyStore) -> dict[str, str]:
    """Fields with every kind of key that is not in force at the house's time, 1,000."""
    _, good = store.create_key("first", "good", None, 0)
    record, revoked = store.create_key("first", "revoked", None, 0)
    store.revoke(record.key_id)
    _, expired = store.create_key("first", "expired", 1_000, 0)
    return {
        "none": "x-other: 1",
        "empty": "authorization: Bearer ",
        "another scheme": f"authorization: Basic {good}",
        "malformed": "authorization: Bearer sk-" + "a" * 43,
        "not a header's text": "authorization: Bearer kr-\xff\xfe",
        "too long": "x-api-key: kr-" + "a" * 1_000,
        "unknown": "api-key: kr-" + "a" * 43,
        "one letter more": f"authorization: Bearer {good}a",
        "one letter less": f"authorization: Bearer {good[:-1]}",
        "another case": f"authorization: Bearer {good.swapcase()}",
        "expired": f"authorization: Bearer {expired}",
        "revoked": f"authorization: Bearer {revoked}",
    }


async def statuses(house: House, method: str, path: str, field: str) -> set[int]:
    """The status, and where a GET is meant that of its HEAD, too."""
    body = None if method == "GET" else b"{}" if method == "PATCH" else b""
    answers = [await house.send(method, path, field, body=body)]
    if method == "GET":
        answers.append(await house.send("HEAD", path, field))
    return {answer.status for answer in answers}


@pytest.mark.parametrize(("method", "path", "role"), WALK)
async def test_no_good_key(
    house: House, store: KeyStore, method: str, path: str, role: str
) -> None:
    record, _ = store.create_key("first", "named", None, 0)
    path = path.replace("{id}", record.key_id if "auth" in path else "m")
    for kind, field in bad_keys(store).items():
        assert await statuses(house, method, path, field) == {ROLES[role]}, kind
    assert record.key_id in {record.key_id for record in store.list("first") if not record.revoked}


@pytest.mark.parametrize(("method", "path", "role"), WALK)
async def test_another_accounts_key(
    house: House, store: KeyStore, method: str, path: str, role: str
) -> None:
    record, _ = store.create_key("first", "named", None, 0)
    _, other = store.create_key("second", "other", None, 0)
    there = path.replace("{id}", record.key_id if "auth" in path else "m")
    field = f"authorization: Bearer {other}"
    assert await statuses(house, method, there, field) == {STRANGER[method, path]}
    assert store.list("first") == [record], "nothing became different"
    if path == "/api/auth":
        assert record.key_id not in str((await house.send("GET", path, field)).json())


def test_what_operators_ask_is_public_and_nothing_else() -> None:
    public = {
        path for path, methods in ROUTES.items() for r in methods.values() if r.role == "public"
    }
    assert public == {b"/livez", b"/readyz", b"/healthz", b"/metrics"}
