"""Opens connections to the server at the URL in argv[1] and prints how each ends."""

import asyncio
import sys

import websockets


async def wait(ws):
    try:
        await ws.recv()
    except websockets.ConnectionClosed as end:
        clean = "clean" if end.rcvd is not None and end.sent is not None and end.rcvd_then_sent else "broken"
        return f"{ws.close_code} {ws.close_reason} {clean}"
    return "a message"


async def main(url):
    clients = [await websockets.connect(url + "/echo") for _ in range(50)]
    for end in await asyncio.wait_for(asyncio.gather(*map(wait, clients)), 60):
        print(end)


asyncio.run(main(sys.argv[1]))
