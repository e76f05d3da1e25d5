"""A prompt in, a picture from a configured images API out, for a tool result and a message part.

The API is OpenAI's `POST /images/generations`, which many speak. A picture comes back as an address
(for an hour, at OpenAI) or as base64, and stays what it is: nothing is fetched, nothing decoded.
What is asked for beyond the prompt is the operator's choice, since the models refuse each other's
fields: `response_format` is dall-e's alone, `output_format` the GPT models'.
"""

import re

import msgspec
import trio

from kproxy.plugins.params import ImageParams
from kproxy.plugins.source import PluginFailed, check_status, decode, plain, web_url
from kproxy.transport.fetch import Ask, Budget, Fetched, Fetcher, Unfetched

__all__ = ["Picture", "make_image"]

WHO = "the images API"
PROMPT = 32_000  # characters; what the GPT models take

_KINDS = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "UklGR": "webp", "R0lGOD": "gif"}
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_PIECE = 1 << 18  # characters: less than a millisecond of checking
_CODE = re.compile(r"[a-z_]{1,64}")


class Picture(msgspec.Struct, frozen=True):
    """One picture. `url` is an address, or a data URL; `cost` is nano-dollars, None: not known."""

    url: str
    revised_prompt: str
    cost: int | None

    def __repr__(self) -> str:
        return f"<Picture {self.url[:24]!r} cost={self.cost}>"

    def part(self) -> dict[str, object]:
        """As a part of a message's content."""
        return {"type": "image_url", "image_url": {"url": self.url}}

    def tool_result(self) -> str:
        """What the model is told; never the picture itself, which it would have to spell."""
        made = "The picture was made and is shown to the user."
        if not self.url.startswith("data:"):
            made = f"{made} Its address is {self.url}"
        return f"{made} It shows: {self.revised_prompt}" if self.revised_prompt else made


class _Datum(msgspec.Struct):
    url: str | None = None
    b64_json: str | None = None
    revised_prompt: str | None = None


class _Pictures(msgspec.Struct):
    data: list[_Datum]


class _Problem(msgspec.Struct):
    code: object = None


class _Refusal(msgspec.Struct):
    error: _Problem


_PICTURES = msgspec.json.Decoder(_Pictures)
_REFUSAL = msgspec.json.Decoder(_Refusal)


async def make_image(fetcher: Fetcher, params: ImageParams, prompt: str) -> Picture:
    """Have one picture made. Raises PluginFailed, which says whether it may have cost something
    even so: a refusal has not, an answer that is none may have."""
    if not prompt.strip():
        raise PluginFailed("there is nothing to draw")
    body = {"model": params.model, "prompt": prompt[:PROMPT], "n": 1, **dict(params.options)}
    headers = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
    if params.api_key is not None:
        headers.append((b"authorization", f"Bearer {params.api_key.reveal()}".encode("ascii")))
    ask = Ask(b"POST", tuple(headers), msgspec.json.encode(body))
    url = f"{params.base_url}/images/generations"
    budget = Budget(params.size, params.seconds)
    try:
        answer = await fetcher.call(url, budget, ask, configured=params.base_url)
    except Unfetched as error:
        raise PluginFailed(f"{WHO}: {error.reason}", spent=error.sent or None) from error
    try:
        return await _picture(answer, params)
    except PluginFailed as trouble:
        trouble.spent = answer.status == 200
        raise


async def _picture(answer: Fetched, params: ImageParams) -> Picture:
    """What the API has answered. Raises PluginFailed."""
    if answer.status == 400:
        raise PluginFailed(_refusal(answer.body))
    check_status(answer.status, WHO)
    made = decode(_PICTURES, answer.body, WHO).data
    if not made:
        raise PluginFailed(f"{WHO} made no picture")
    where = await _where(made[0])
    return Picture(where, plain(made[0].revised_prompt, 2_000), params.cost)


async def _where(made: _Datum) -> str:
    """The address of what was made, or a data URL. Raises PluginFailed."""
    if made.b64_json:
        kind = next((kind for sign, kind in _KINDS.items() if made.b64_json.startswith(sign)), None)
        if kind is None or not await _is_base64(made.b64_json):
            raise PluginFailed(f"{WHO} sent something else than a picture")
        return f"data:image/{kind};base64,{made.b64_json}"
    url = web_url(made.url)
    if not url:
        raise PluginFailed(f"{WHO} sent something else than a picture")
    return url


async def _is_base64(text: str) -> bool:
    """Whether nothing but base64 is in there, looked at in pieces: it goes into other texts."""
    for at in range(0, len(text), _PIECE):
        if _BASE64.fullmatch(text, at, at + _PIECE) is None:
            return False
        await trio.lowlevel.checkpoint()
    return True


def _refusal(body: bytes) -> str:
    """A reason for a 400. The API's own code names the rule that was broken; its text is not ours
    to pass on."""
    try:
        code = _REFUSAL.decode(body).error.code
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        code = None
    if isinstance(code, str) and _CODE.fullmatch(code):
        return f"{WHO} refused the prompt ({code})"
    return f"{WHO} refused the prompt"
