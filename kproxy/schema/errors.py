"""What went wrong goes in; OpenAI's error envelope comes out as bytes (contract section 4)."""

import msgspec

__all__ = ["error_body"]


class _Error(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _Envelope(msgspec.Struct):
    error: _Error


_encode = msgspec.json.Encoder().encode


def error_body(message: str, type: str, param: str | None, code: str | None) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`; all four keys are always there.

    Never raises: what cannot be written as UTF-8 is replaced.
    """
    texts = (_clean(message), _clean(type), _clean(param), _clean(code))
    return _encode(_Envelope(_Error(texts[0] or "", texts[1] or "", texts[2], texts[3])))


def _clean(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()
