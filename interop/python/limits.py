"""Meets the limits of the server at the URL in argv[1]: 2 connections, 5 messages at once and 1 a second."""

import asyncio
import sys

import websockets


async def refused(url):
    async with websockets.connect(url), websockets.connect(url):
        try:
            await websockets.connect(url)
        except websockets.InvalidStatusCode as answer:
            assert answer.status_code == 503, answer
            assert int(answer.headers["Retry-After"]) > 0, answer.headers
            return
    assert False, "a third connection"


async def flood(url):
    answered = 0
    async with websockets.connect(url) as ws:
        try:
            for i in range(100):
                await ws.send(str(i))
                assert await ws.recv() == str(i)
                answered += 1
        except websockets.ConnectionClosed as end:
            assert end.rcvd.code == 1008 and "messages" in end.rcvd.reason, end
            assert 5 <= answered < 50, answered
            return
    assert False, "a hundred messages"


async def main(url):
    for case in (refused, flood):
        await case(url)
        print("ok", case.__name__)


asyncio.run(main(sys.argv[1]))
