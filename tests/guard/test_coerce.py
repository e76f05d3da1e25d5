"""The same value in another type, and nothing else."""

import pytest

from kproxy.guard.coerce import coerced
from kproxy.guard.schemas import Wrong


@pytest.mark.parametrize(
    ("value", "types", "result"),
    [
        ("12", ("integer",), 12),
        (" -1.5e3 ", ("number",), -1500.0),
        ("12", ("number", "null"), 12),
        ("TRUE", ("boolean",), True),
        ("None", ("null",), None),
        (12, ("string",), "12"),
        (1.0, ("integer",), 1),
    ],
)
def test_corrected(value: object, types: tuple[str, ...], result: object) -> None:
    found = coerced({"a": [value]}, [Wrong(("a", 0), types)])
    assert found == {"a": [result]}
    assert isinstance(found, dict)
    assert type(found["a"][0]) is type(result)


@pytest.mark.parametrize(
    ("value", "types"),
    [("12.5", ("integer",)), ("twelve", ("number",)), ("012", ("integer",)), ("1e999", ("number",)),
     (1.5, ("integer",)), (True, ("string",)), (None, ("string",)), ("yes", ("boolean",)),
     ([1], ("object",))],
)  # fmt: skip
def test_left(value: object, types: tuple[str, ...]) -> None:
    assert coerced({"a": value}, [Wrong(("a",), types)]) == {"a": value}


def test_nothing_wrong_and_wrong_as_a_whole() -> None:
    assert coerced({"a": 1}, []) is None
    assert coerced("12", [Wrong((), ("integer",))]) is None
    assert coerced({"a": "1"}, [Wrong(("a",), ("integer",))] * 1_001) is None
