"""The client of Tornado's walk-through: says hello to the server at the URL in argv[1]."""

import asyncio
import sys

import websockets


async def main(url):
    async with websockets.connect(url + "/tornado") as ws:
        await ws.send("Hello Chetan")
        print(await ws.recv())


asyncio.run(main(sys.argv[1]))
