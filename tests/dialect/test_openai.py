"""OpenAI's wire: what goes to the provider, and what is believed of what comes back."""

import contextlib
import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.dialect.openai import MAX_MESSAGE, OURS, OpenAI, retry_after
from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.ledger.usage import from_reply
from tests.fakes.stream import USED

DIALECT = OpenAI()
REPLY: dict[str, Any] = {
    "model": "m-1",
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": USED,
}


def encode(body: bytes, *, stream: bool = False) -> bytes:
    """What a caller's body becomes for the provider's model `up-1`."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return DIALECT.encode(fields, "up-1", stream)


def error(status: int, body: bytes = b"", wait: bytes | None = None) -> Fault | Rejected:
    """How a status is understood."""
    fields = {} if wait is None else {b"retry-after": wait}
    return DIALECT.read_error(status, fields.get, body)


# --- the request


def test_the_callers_bytes_go_up_as_they_came() -> None:
    body = (
        b'{ "model" : "auto" , "messages":[ {"content":"\\u00e4\\/ \xc3\xa4","role":"user"} ],'
        b'"temperature":1.0e0,"big":123456789012345678901234567890,"new_field":{"a" : [1,  2]}}'
    )
    assert encode(body) == (
        b'{"model":"up-1","messages":[ {"content":"\\u00e4\\/ \xc3\xa4","role":"user"} ],'
        b'"temperature":1.0e0,"big":123456789012345678901234567890,"new_field":{"a" : [1,  2]}}'
    )


def test_our_fields_never_go_up() -> None:
    fields = dict.fromkeys(OURS, 1) | {"model": "auto", "seed": 7}
    for stream in (False, True):
        sent = json.loads(encode(json.dumps(fields).encode(), stream=stream))
        assert not sent.keys() & OURS
        assert (sent["model"], sent["seed"]) == ("up-1", 7)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (b"", b'{"include_usage":true}'),
        (b'"stream_options":null,', b'{"include_usage":true}'),
        (b'"stream_options":{},', b'{"include_usage":true}'),
        (b'"stream_options":{"include_usage":false},', b'{"include_usage":true}'),
        (
            b'"stream_options":{"x":[1, 2],"include_usage":null},',
            b'{"x":[1, 2],"include_usage":true}',
        ),
    ],
)
def test_a_stream_is_always_asked_for_its_usage(given: bytes, sent: bytes) -> None:
    body = b'{%b"stream":true,"model":"auto"}' % given
    assert encode(body, stream=True) == b'{"model":"up-1","stream":true,"stream_options":%b}' % sent


def test_without_a_stream_nothing_is_asked_for() -> None:
    assert encode(b'{"model":"auto","stream":false}') == b'{"model":"up-1","stream":false}'


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.lists(st.floats(0, 1)))
)
def test_unknown_fields_arrive_whatever_their_names(fields: dict[str, Any]) -> None:
    body = json.dumps(fields | {"model": "auto"}).encode()
    kept = {name: value for name, value in fields.items() if name not in OURS}
    assert json.loads(encode(body)) == kept | {"model": "up-1"}


@pytest.mark.parametrize("name", ["größe", 'a"b', "a\\b", "\u2028", "emoji 🦊", ""])
def test_names_beyond_ascii_are_the_same_names(name: str) -> None:
    assert json.loads(encode(json.dumps({name: 1}).encode())) == {"model": "up-1", name: 1}


def test_a_model_name_cannot_leave_its_string() -> None:
    assert json.loads(DIALECT.encode({}, 'x","a":"', False)) == {"model": 'x","a":"'}


def test_credentials_are_a_bearer_token_or_none() -> None:
    assert DIALECT.credentials("sk-1") == [(b"authorization", b"Bearer sk-1")]
    assert DIALECT.credentials("") == []


# --- errors


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_callers_content_is_the_callers_error(status: int) -> None:
    body = b'{"error":{"message":"Too long.","code":"context_length_exceeded","param":"messages"}}'
    found = error(status, body)
    assert isinstance(found, Rejected)
    assert (found.status, found.message) == (status, "Too long.")
    assert (found.code, found.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"plain text"}', "plain text"),
        (b'{"code":"x","error":"plain text"}', "plain text"),
        (b'[{"error":{"code":400,"message":"Google","status":"INVALID_ARGUMENT"}}]', "Google"),
        (b'{"object":"error","message":"vLLM","code":400}', "vLLM"),
        (b'{"error":{"message":"x","code":400,"param":["a"]}}', "x"),
        (b'"just a text"', "just a text"),
        (json.dumps({"error": {"message": "y" * 5000}}).encode(), "y" * MAX_MESSAGE),
    ],
)
def test_other_shapes_of_a_providers_error(body: bytes, message: str) -> None:
    found = error(400, body)
    assert isinstance(found, Rejected)
    assert (found.message, found.code, found.param) == (message, "invalid_request_error", None)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>no</html>", b"{", b"[]", b"[1]", b"null", b"1", b'{"error":null}',
        b'{"error":{}}', b'{"error":{"message":null}}', b'{"error":{"message":{"a":1}}}',
        b'{"error":[{"message":"x"}]}', b"\xff\xfe", b'{"error":{"message":"\xff"}}',
        b"[" * 100_000, b'{"error":{"message":"\\ud800"}}', b'{"error":{"message":""}}',
    ],
)  # fmt: skip
def test_an_error_that_says_nothing_has_our_words(body: bytes) -> None:
    found = error(422, body)
    assert isinstance(found, Rejected)
    assert found.message == "The provider refused the request (HTTP 422)."
    assert (found.code, found.param) == ("invalid_request_error", None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, FaultKind.CREDENTIAL), (403, FaultKind.CREDENTIAL), (429, FaultKind.RATE_LIMITED),
        (204, FaultKind.UNAVAILABLE), (301, FaultKind.UNAVAILABLE), (307, FaultKind.UNAVAILABLE),
        (404, FaultKind.NOT_FOUND), (405, FaultKind.UNAVAILABLE), (408, FaultKind.UNAVAILABLE),
        (500, FaultKind.UNAVAILABLE), (503, FaultKind.UNAVAILABLE), (529, FaultKind.UNAVAILABLE),
    ],
)  # fmt: skip
def test_every_other_status_is_the_providers_fault(status: int, kind: FaultKind) -> None:
    found = error(status, b'{"error":{"message":"key sk-secret is bad"}}')
    assert isinstance(found, Fault)
    assert (found.kind, found.status, found.detail) == (kind, status, f"HTTP {status}")


def test_our_key_refused_by_a_400_is_not_the_callers_error() -> None:
    found = error(400, b'{"error":{"message":"Incorrect key sk-1","code":"invalid_api_key"}}')
    assert isinstance(found, Fault)
    assert (found.kind, found.detail) == (FaultKind.CREDENTIAL, "HTTP 400")


@pytest.mark.parametrize("status", [429, 503, 408])
def test_retry_after_is_heard(status: int) -> None:
    found = error(status, wait=b"17")
    assert isinstance(found, Fault)
    assert found.retry_after == 17.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0), (b"1", 1.0), (b"3600", 3600.0), (b"0060", 60.0),
        (b"3601", None), (b"99999999999999999999", None), (b"-1", None), (b"+1", None),
        (b"1.5", None), (b"", None), (b" 1", None), (b"\xb2", None), (b"1_0", None),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", None), (b"soon", None), (None, None),
    ],
)  # fmt: skip
def test_retry_after_is_a_small_integer_or_nothing(value: bytes | None, seconds: object) -> None:
    assert retry_after({b"retry-after": value}.get) == seconds


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (b"Wed, 21 Oct 2026 07:28:30 GMT", b"Wed, 21 Oct 2026 07:28:00 GMT", 30.0),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", b"Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        (b"Wed, 21 Oct 2026 07:27:00 GMT", b"Wed, 21 Oct 2026 07:28:00 GMT", None),
        (b"Thu, 22 Oct 2026 07:28:00 GMT", b"Wed, 21 Oct 2026 07:28:00 GMT", None),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", b"soon", None),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", None, None),
        (b"Wed, 99 Oct 2026 07:28:00 GMT", b"Wed, 21 Oct 2026 07:28:00 GMT", None),
        (b"Wed, 21 Oct 99999999999 07:28:00 GMT", b"Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_a_date_is_taken_relative_to_the_answers_own(
    value: bytes, date: bytes | None, seconds: object
) -> None:
    assert retry_after({b"retry-after": value, b"date": date}.get) == seconds


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_a_date_is_read_in_all_three_forms(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """RFC 9110 section 5.6.7: they are all UTC, wherever kproxy runs."""
    forms = (
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
    )
    now = b"Sun, 06 Nov 1994 08:49:00 GMT"
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert [retry_after({b"retry-after": one, b"date": now}.get) for one in forms] == [37.0] * 3
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1500", 1.5), (b"3600000", 3600.0), (b"3600001", None), (b"99999999", 7.0), (b"x", 7.0)],
)
def test_milliseconds_are_the_finer_word(value: bytes, seconds: object) -> None:
    assert retry_after({b"retry-after-ms": value, b"retry-after": b"7"}.get) == seconds


# --- whole answers


def test_a_whole_answer_is_read() -> None:
    facts = DIALECT.read_reply(json.dumps(REPLY).encode())
    assert facts.usage is not None
    assert facts.usage.completion_tokens == 3
    assert (facts.text, facts.tagged, facts.model) == (len("Hi"), False, "m-1")
    assert facts.reasons == ("stop",)
    assert DIALECT.read_reply(json.dumps(REPLY | {"x_kairosroute": {}}).encode()).tagged


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (REPLY | {"choices": []}, FaultKind.NO_CONTENT),
        (REPLY | {"choices": None}, FaultKind.NO_CONTENT),
        ({}, FaultKind.NO_CONTENT),
        (REPLY | {"choices": [{"message": {"content": "x"}}]}, FaultKind.NO_CONTENT),
        (REPLY | {"error": {"message": "overloaded"}}, FaultKind.ERROR_EVENT),
        ({"error": "overloaded"}, FaultKind.ERROR_EVENT),
        ([], FaultKind.BAD_BODY),
        (None, FaultKind.BAD_BODY),
        (REPLY | {"choices": {}}, FaultKind.BAD_BODY),
        (REPLY | {"choices": [None]}, FaultKind.BAD_BODY),
        (b"", FaultKind.BAD_BODY),
        (b"<html>", FaultKind.BAD_BODY),
        (json.dumps(REPLY).encode()[:-1], FaultKind.BAD_BODY),
        (json.dumps(REPLY).encode() + b"{}", FaultKind.BAD_BODY),
        (b'{"choices":' + b"[" * 100_000, FaultKind.BAD_BODY),
        (b'{"model":"\xff"}', FaultKind.BAD_BODY),
    ],
)
def test_what_is_no_completion_is_a_fault(body: Any, kind: FaultKind) -> None:
    with pytest.raises(Fault) as fault:
        DIALECT.read_reply(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert fault.value.kind is kind


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_anything_but_a_fault(body: bytes) -> None:
    for read in (DIALECT.read_reply, DIALECT.read_chunk):
        with contextlib.suppress(Fault):
            read(body)


# --- chunks


@pytest.mark.parametrize(
    ("chunk", "facts"),
    [
        ({"choices": [{"delta": {"content": "ab"}}]}, (True, 2, (), False)),
        ({"choices": [{"delta": {"role": "assistant"}}]}, (False, 0, (), False)),
        ({"choices": [{"delta": None}]}, (False, 0, (), False)),
        ({"choices": [{"finish_reason": "stop"}]}, (False, 0, (0,), False)),
        ({"choices": [{"index": 2, "finish_reason": "stop"}]}, (False, 0, (2,), False)),
        (
            {"choices": [{"index": 1, "finish_reason": "x"}, {"delta": {"reasoning": "a"}}]},
            (True, 1, (1,), False),
        ),
        ({"choices": []}, (False, 0, (), True)),
        ({"choices": None}, (False, 0, (), True)),
        ({}, (False, 0, (), True)),
    ],
)
def test_facts_of_a_chunk(chunk: Any, facts: tuple[bool, int, tuple[int, ...], bool]) -> None:
    found = DIALECT.read_chunk(json.dumps(chunk).encode())
    assert (found.token, found.text, found.finished, found.empty) == facts
    assert found.usage is None
    assert not found.tagged


def test_why_the_choices_of_a_chunk_have_ended() -> None:
    choices = [{"index": 1, "finish_reason": "length"}, {"index": 0}, {"finish_reason": "stop"}]
    found = DIALECT.read_chunk(json.dumps({"model": "m-1", "choices": choices}).encode())
    assert (found.finished, found.reasons, found.model) == ((1, 0), ("length", "stop"), "m-1")


def test_usage_and_tag_of_a_chunk() -> None:
    found = DIALECT.read_chunk(json.dumps({"usage": USED, "x_kairosroute": None}).encode())
    assert found.usage is not None
    assert found.usage.prompt_tokens == 7
    assert found.tagged


@pytest.mark.parametrize(
    "usage",
    [[1], "many", {"prompt_tokens": "three"}, {"prompt_tokens": {"a": 1}}, 7, True, {"": None}],
)
def test_odd_counts_do_not_cost_a_good_answer(usage: Any) -> None:
    """It is settled by our own count then, which the caller is told."""
    facts = OpenAI().read_reply(json.dumps(REPLY | {"usage": usage}).encode())
    assert from_reply(facts.usage) is None
