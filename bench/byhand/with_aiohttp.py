"""A proxy as a user writes it by hand with aiohttp on both sides; bench/peers.py measures it.

In: PROXY_UPSTREAMS (JSON: model name to base URL), PROXY_KEY, PROXY_PORT. It checks the key, sends
the body on to the model's upstream and passes on the answer as it comes.
"""

import json
import os
import secrets

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

UPSTREAMS = json.loads(os.environ["PROXY_UPSTREAMS"])
EXPECTED = f"Bearer {os.environ['PROXY_KEY']}"
MODEL = os.environ["PROXY_MODEL"]
CLIENT = web.AppKey("client", ClientSession)


async def open_client(app: web.Application) -> None:  # noqa: ASYNC124 - it must be one
    # aiohttp's default of 100 connections would let 900 of 1,000 streams wait.
    connector = TCPConnector(limit=0)
    app[CLIENT] = ClientSession(connector=connector, timeout=ClientTimeout(total=300))


async def close_client(app: web.Application) -> None:
    await app[CLIENT].close()


async def ready(request: web.Request) -> web.Response:  # noqa: ASYNC124 - it must be one
    return web.json_response({"status": "ok"})


async def chat(request: web.Request) -> web.StreamResponse:
    if not secrets.compare_digest(request.headers.get("Authorization", ""), EXPECTED):
        raise web.HTTPUnauthorized
    body = await request.json()
    base = UPSTREAMS.get(body.get("model"))
    if base is None:
        raise web.HTTPNotFound
    body["model"] = MODEL
    headers = {"Authorization": "Bearer bench"}
    asked = request.app[CLIENT].post(f"{base}/chat/completions", json=body, headers=headers)
    async with asked as answer:
        if not body.get("stream"):
            whole = await answer.read()
            kind = answer.content_type
            return web.Response(body=whole, status=answer.status, content_type=kind)
        stream = web.StreamResponse(status=answer.status)
        stream.content_type = "text/event-stream"
        await stream.prepare(request)
        async for piece in answer.content.iter_any():
            await stream.write(piece)
        await stream.write_eof()
        return stream


def main() -> None:
    app = web.Application()
    app.on_startup.append(open_client)
    app.on_cleanup.append(close_client)
    app.router.add_get("/readyz", ready)
    app.router.add_post("/v1/chat/completions", chat)
    port = int(os.environ["PROXY_PORT"])
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, backlog=4096)


if __name__ == "__main__":
    main()
