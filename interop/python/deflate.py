"""Compression with Debian's python3-websockets against the server at the URL in argv[1].

argv[2] is "parameters": every combination of what permessage-deflate can offer; or
"replay": the messages of the Autobahn testsuite's cases 12.* and 13.*, of which each
case sends as many as fit into argv[3] bytes, 1,000 at most.
"""

import asyncio
import dataclasses
import itertools
import random
import sys
import zlib

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate

CLIENT_BITS = (None, True, 9, 12, 15)  # zlib does not compress with 8
SERVER_BITS = (None, 8, 9, 12, 15)

# (payload length, size of a fragment's part of it) as in Autobahn's table.
SIZES = [(n, 0) for n in (16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072)]
SIZES += [(n, 256) for n in (8192, 16384, 32768, 65536, 131072)]
SIZES += [(131072, n) for n in (1024, 4096, 32768)]

# What the client offers in cases 13.1 to 13.7, one after another: (no context
# takeover, window bits) for the server.
OFFERS = [
    [(False, None)],
    [(True, None)],
    [(False, 8)],
    [(False, 15)],
    [(True, 8)],
    [(True, 15)],
    [(True, 8), (True, None), (False, None)],
]


class Streamed(PerMessageDeflate):
    """Compresses a message as Autobahn does: what has come out goes into a frame, without a flush."""

    def encode(self, frame):
        if frame.fin or frame.opcode in websockets.frames.CTRL_OPCODES:
            return super().encode(frame)
        first = frame.opcode is not websockets.frames.OP_CONT
        if first and self.local_no_context_takeover:
            self.encoder = zlib.compressobj(wbits=-self.local_max_window_bits)
        return dataclasses.replace(frame, rsv1=first, data=self.encoder.compress(frame.data))


class Factory(ClientPerMessageDeflateFactory):
    agreed = None

    def process_response_params(self, params, accepted_extensions):
        Factory.agreed = super().process_response_params(params, accepted_extensions)
        Factory.agreed.__class__ = Streamed
        return Factory.agreed


def connect(url, *factories):
    return websockets.connect(url + "/echo", max_size=None, compression=None, extensions=factories)


def text(size, seed):
    r = random.Random(seed)
    parts = []
    while sum(map(len, parts)) < size:
        parts += [f'{{"id": {r.randrange(10**6)}, "name": "M{r.randrange(100)}", "tags": ["a", "{r.random():.3f}"]}},\n' for _ in range(50)]
    return "".join(parts)[:size]


async def echo(ws, message):
    await ws.send(message)
    got = await ws.recv()
    assert got == message, (len(message), len(got))


async def parameters(url):
    for server_alone, client_alone, server_bits, client_bits in itertools.product((False, True), (False, True), SERVER_BITS, CLIENT_BITS):
        offer = Factory(server_alone, client_alone, server_bits, client_bits)
        Factory.agreed = None
        async with connect(url, offer) as ws:
            assert Factory.agreed is not None, "no compression"
            for seed, size in enumerate((0, 5, 200, 3000, 50_000, 3000)):
                await echo(ws, text(size, seed % 4))
            await ws.send([text(700, 9)[i : i + 100] for i in range(0, 700, 100)])
            assert await ws.recv() == text(700, 9)
        print("ok", server_alone, client_alone, server_bits, client_bits, flush=True)


def test_data():
    """Five contents like Autobahn's own: text as binary, a picture, a PDF, JSON, HTML."""
    r = random.Random(12)
    words = "Habe nun ach Philosophie Juristerei und Medizin leider auch Theologie durchaus studiert mit heißem Bemühn".split()
    prose = " ".join(r.choice(words) for _ in range(35_000)).encode()
    picture = bytes(min(255, max(0, int(128 + 60 * ((i // 512 % 97) / 97) + r.gauss(0, 9)))) for i in range(263_222))
    pdf = b"".join(b"%d 0 obj << /Length 900 >> stream\n" % i + r.randbytes(900) for i in range(230))
    html = "".join(f'<tr class="row{i % 2}"><td><a href="/item/{i}">item {i}</a></td></tr>\n' for i in range(4_000))
    return [prose, picture, pdf, text(194_056, 13), html]


async def run_case(ws, data, size, fragment, budget):
    at = 0
    for _ in range(min(1000, max(4, budget // size))):
        message = (data[at:] + data)[:size]
        at = (at + size) % len(data)
        if fragment:
            await ws.send([message[i : i + fragment] for i in range(0, size, fragment)])
            got = await ws.recv()
            assert got == message, (size, fragment, len(got))
        else:
            await echo(ws, message)


async def replay(url, budget):
    data = test_data()
    for kind, content in enumerate(data):
        for case, (size, fragment) in enumerate(SIZES):
            async with connect(url, Factory()) as ws:
                await run_case(ws, content, size, fragment, budget)
            print(f"ok 12.{kind + 1}.{case + 1}", flush=True)
    for number, offers in enumerate(OFFERS):
        for case, (size, fragment) in enumerate(SIZES):
            async with connect(url, *(Factory(alone, False, bits, True) for alone, bits in offers)) as ws:
                assert len(ws.extensions) == 1
                await run_case(ws, data[3], size, fragment, budget)
            print(f"ok 13.{number + 1}.{case + 1}", flush=True)


if sys.argv[2] == "replay":
    asyncio.run(replay(sys.argv[1], int(sys.argv[3])))
else:
    asyncio.run(parameters(sys.argv[1]))
