"""An images API in OpenAI's shape, on real sockets."""

import base64

import pytest

from kproxy.admission.keys import Secret
from kproxy.plugins.image_gen import Picture, make_image
from kproxy.plugins.params import ImageParams
from kproxy.plugins.source import PluginFailed
from tests.fakes.fetching import fetching
from tests.fakes.web import HANG, answer, data, redirect, web

pytestmark = pytest.mark.loopback

PATH = "/v1/images/generations"
URL = "https://images.example/private/1.png?sig=x"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(300_000)).decode()


def params(server, **given):
    base = {"base_url": f"{server.url}/v1", "api_key": Secret("secret-key"), "model": "gpt-image-1"}
    return ImageParams(**{**base, **given})


async def failure(fetcher, given, prompt="A cat"):
    with pytest.raises(PluginFailed) as caught:
        await make_image(fetcher, given, prompt)
    assert "secret" not in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize(
    ("said", "spent"),
    [
        (data({"error": {}}, status=400), False),
        (answer(b"", status=503), False),
        (data({"data": []}), True),
        (answer(b"<html>"), True),
        (b"", True),
        (HANG, True),
    ],
)
async def test_a_failure_says_whether_it_may_have_cost_something(said, spent):
    async with fetching() as (fetcher, _), web() as server:
        server.says(PATH, said)
        with pytest.raises(PluginFailed) as caught:
            await make_image(fetcher, params(server, seconds=0.2), "A cat")
        assert caught.value.spent is spent
        assert PluginFailed("x").spent is None


async def test_a_picture_as_data():
    async with fetching() as (fetcher, _), web() as server:
        usage = {"input_tokens": 5, "output_tokens": 1_000, "total_tokens": 1_005}
        server.says(PATH, data({"created": 1, "data": [{"b64_json": PNG}], "usage": usage}))
        given = params(server, options=(("size", "1024x1024"), ("quality", "low")), cost=11_000_000)
        made = await make_image(fetcher, given, "A cat")
        assert made == Picture(f"data:image/png;base64,{PNG}", "", 11_000_000)
        assert made.part() == {"type": "image_url", "image_url": {"url": made.url}}
        assert PNG[:40] not in made.tool_result() + repr(made)[40:]
        (asked,) = server.asked
        assert asked.json() == {
            "model": "gpt-image-1", "prompt": "A cat", "n": 1,
            "size": "1024x1024", "quality": "low",
        }  # fmt: skip
        assert asked.fields["authorization"] == "Bearer secret-key"


async def test_a_picture_at_an_address_is_not_fetched():
    async with fetching() as (fetcher, internet), web() as server:
        found = {"url": URL, "revised_prompt": "A  small\ncat"}
        server.says(PATH, data({"created": 1, "data": [found]}))
        made = await make_image(fetcher, params(server, api_key=None), "A cat")
        assert made == Picture(URL, "A small cat", None)
        assert URL in made.tool_result()
        assert "A small cat" in made.tool_result()
        assert internet.looked_up == []
        assert "authorization" not in server.asked[0].fields


@pytest.mark.parametrize(
    ("sign", "kind"), [(b"\xff\xd8\xff", "jpeg"), (b"RIFF\0\0\0\0WEBP", "webp"), (b"GIF89a", "gif")]
)
async def test_other_kinds_are_known_by_their_first_bytes(sign, kind):
    async with fetching() as (fetcher, _), web() as server:
        encoded = base64.b64encode(sign + bytes(9)).decode()
        server.says(PATH, data({"data": [{"b64_json": encoded}]}))
        made = await make_image(fetcher, params(server), "A cat")
        assert made.url.startswith(f"data:image/{kind};base64,")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (data({"error": {"code": "moderation_blocked", "message": "secret"}}, status=400),
         "refused the prompt (moderation_blocked)"),
        (data({"error": {"code": "A secret", "message": "x"}}, status=400), "refused the prompt"),
        (answer(b"nonsense", status=400), "refused the prompt"),
        (data({"error": {"code": "invalid_api_key"}}, status=401), "key"),
        (data({"error": {}}, status=429), "enough"),
        (answer(b"", status=503), "503"),
        (data({"data": []}), "no picture"),
        (data({"data": [{}]}), "something else than a picture"),
        (data({"data": [{"url": "javascript:alert(1)"}]}), "something else than a picture"),
        (data({"data": [{"b64_json": "PHN2Zz4="}]}), "something else than a picture"),
        (data({"data": [{"b64_json": PNG[:-4] + ")](x"}]}), "something else than a picture"),
        (answer(b"<html>"), "something else than its JSON"),
        (answer(b"x" * 1_000_001), "over the limit"),
        (redirect("http://127.0.0.1/"), "redirected"),
        (b"", "ended"),
    ],
)  # fmt: skip
async def test_what_goes_wrong_is_said(said, reason):
    async with fetching() as (fetcher, _), web() as server:
        server.says(PATH, said)
        assert reason in await failure(fetcher, params(server, size=1_000_000))


async def test_a_slow_one():
    async with fetching() as (fetcher, _), web() as server:
        server.says(PATH, HANG)
        assert "took too long" in await failure(fetcher, params(server, seconds=0.2))


async def test_without_a_prompt_nobody_is_asked():
    async with fetching() as (fetcher, _), web() as server:
        assert "nothing to draw" in await failure(fetcher, params(server), " \n")
        assert server.connections == 0
