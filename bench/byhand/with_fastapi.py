"""A proxy as a user writes it by hand with FastAPI and httpx; bench/peers.py measures it.

In: PROXY_UPSTREAMS (JSON: model name to base URL), PROXY_KEY. Out: the app that uvicorn serves. It
checks the key, sends the body on to the model's upstream and passes on the answer as it comes.
"""

import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx  # noqa: ASYNC127 - what most such proxies use
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

UPSTREAMS = json.loads(os.environ["PROXY_UPSTREAMS"])
EXPECTED = f"Bearer {os.environ['PROXY_KEY']}"
MODEL = os.environ["PROXY_MODEL"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # httpx's default of 100 connections would let 900 of 1,000 streams wait.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=2048)
    async with httpx.AsyncClient(limits=limits, timeout=300) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
async def ready() -> dict[str, str]:  # noqa: ASYNC124 - on the loop, not in a thread
    return {"status": "ok"}


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    if not secrets.compare_digest(request.headers.get("authorization", ""), EXPECTED):
        raise HTTPException(401, "wrong key")
    body = await request.json()
    base = UPSTREAMS.get(body.get("model"))
    if base is None:
        raise HTTPException(404, "unknown model")
    body["model"] = MODEL
    client: httpx.AsyncClient = request.app.state.client
    headers = {"authorization": "Bearer bench"}
    if not body.get("stream"):
        answer = await client.post(f"{base}/chat/completions", json=body, headers=headers)
        kind = answer.headers.get("content-type")
        return Response(answer.content, answer.status_code, media_type=kind)
    asked = client.build_request("POST", f"{base}/chat/completions", json=body, headers=headers)
    stream = await client.send(asked, stream=True)

    async def relay() -> AsyncIterator[bytes]:
        try:
            async for piece in stream.aiter_raw():
                yield piece
        finally:
            await stream.aclose()

    return StreamingResponse(relay(), stream.status_code, media_type="text/event-stream")
