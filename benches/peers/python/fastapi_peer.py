"""FastAPI + aiomqtt: answers when the broker has confirmed.   uvicorn fastapi_peer:app, with BROKER_PORT set"""

import os
from contextlib import asynccontextmanager

import aiomqtt
from fastapi import FastAPI, Request


@asynccontextmanager
async def lifespan(app):
    async with aiomqtt.Client("127.0.0.1", int(os.environ["BROKER_PORT"]), max_inflight_messages=100) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/devices/{device}/uplinks")
async def uplink(device: str, request: Request):
    await app.state.client.publish(f"devices/{device}/up", await request.body(), qos=1)
    return {"status": "delivered"}
