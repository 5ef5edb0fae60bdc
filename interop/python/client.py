"""Runs the cases against the server at the URL in argv[1] with Debian's python3-websockets."""

import asyncio
import sys

import websockets

MAX_MESSAGE = 1 << 20
SIZES = [0, 1, 125, 126, 127, 65535, 65536, MAX_MESSAGE]


def connect(url, **options):
    return websockets.connect(url + "/echo", max_size=None, **options)


async def echo(url):
    async with connect(url) as ws:
        for size in SIZES:
            for message in ("ß" * (size // 2) + "s" * (size % 2), b"\xff" * size):
                await ws.send(message)
                assert await ws.recv() == message, size


async def fragments(url):
    async with connect(url) as ws:
        await ws.send(["in ", "", "three frames"])
        assert await ws.recv() == "in three frames"
        await ws.send([b"x" * 70_000] * 3)
        assert await ws.recv() == b"x" * 210_000


async def pings(url):
    async with connect(url) as ws:
        await (await ws.ping(b"echo this"))
        await ws.send("ping:are you there?")
        assert await ws.recv() == "pong:are you there?"


async def client_closes(url):
    for code in (1000, 1001, 3000, 4999):
        ws = await connect(url)
        await ws.close(code, "bye from Python")
        assert ws.close_code == code, ws.close_code


async def expect_close(ws, code, reason=None):
    try:
        message = await ws.recv()
    except websockets.ConnectionClosed as end:
        assert end.rcvd is not None and end.rcvd.code == code, end
        assert reason is None or end.rcvd.reason == reason, end
    else:
        raise AssertionError(f"received {message[:60]!r}")


async def server_closes(url):
    for code in (1000, 1001, 1008, 1011, 1012, 1013, 3000, 4999):
        async with connect(url) as ws:
            await ws.send(f"close:{code}:enough")
            await expect_close(ws, code, "enough")


async def too_big(url):
    async with connect(url) as ws:
        await ws.send(b"x" * (MAX_MESSAGE + 1))
        await expect_close(ws, 1009)


async def subprotocols(url):
    for offers, want in (
        (["chat.v1"], "chat.v1"),
        (["chat.v1", "chat.v2"], "chat.v1"),
        (["other", "chat.v2"], "chat.v2"),
        (["other"], None),
    ):
        async with connect(url, subprotocols=offers) as ws:
            assert ws.subprotocol == want, (offers, ws.subprotocol)


async def origins(url):
    async with connect(url, origin=url.replace("ws", "http", 1)):
        pass
    for origin in ("http://elsewhere.example", "null"):
        try:
            await connect(url, origin=origin)
        except websockets.InvalidStatusCode as refusal:
            assert refusal.status_code == 403, refusal
        else:
            raise AssertionError(f"{origin} was accepted")


async def concurrent_clients(url):
    async def chat(name):
        async with connect(url) as ws:
            for i in range(20):
                await ws.send(f"client {name} message {i}")
                assert await ws.recv() == f"client {name} message {i}"

    await asyncio.gather(*(chat(name) for name in range(50)))


async def main(url):
    cases = (echo, fragments, pings, client_closes, server_closes, too_big, subprotocols, origins, concurrent_clients)
    for case in cases:
        await asyncio.wait_for(case(url), 60)
        print("ok", case.__name__, flush=True)


asyncio.run(main(sys.argv[1]))
