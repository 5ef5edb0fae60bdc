"""echo.py: an echo and broadcast server on Tornado.

    /usr/bin/python3 echo.py --listen 127.0.0.1:9001 [--broadcast] [--cert FILE --key FILE] [--takeover]
"""

import argparse
import asyncio
import logging
import resource
import ssl
import sys

from tornado.escape import utf8
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler


class Echo(WebSocketHandler):
    # Compression is off by default, and so are pings by the server. Debian's package
    # has the C extension that unmasks.

    options = None

    def get_compression_options(self):
        return self.options

    def check_origin(self, origin):
        return True

    def open(self):
        self.set_nodelay(True)

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


class Broadcast(Echo):
    """As in Tornado's chat demo: write_message to each. A text is encoded once."""

    clients = set()

    def open(self):
        super().open()
        self.clients.add(self)

    def on_close(self):
        self.clients.discard(self)

    def on_message(self, message):
        binary = isinstance(message, bytes)
        message = utf8(message)
        for client in self.clients:
            try:
                client.write_message(message, binary=binary)
            except WebSocketClosedError:
                pass  # on_close follows


def refuse(why):
    print("echo.py:", why, file=sys.stderr)
    return 2


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:9001", metavar="HOST:PORT")
    parser.add_argument("--broadcast", action="store_true", help="send each message to every connection")
    parser.add_argument("--cert", metavar="FILE")
    parser.add_argument("--key", metavar="FILE")
    parser.add_argument("--deflate", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--takeover", action="store_true", help="compress with context takeover for clients that offer it")
    args = parser.parse_args()
    if args.deflate:
        sys.exit(refuse("no --deflate: Tornado has context takeover whatever a client offers; --takeover says so"))
    if bool(args.cert) != bool(args.key):
        sys.exit(refuse("--cert and --key, or none of them"))
    address = args.listen
    host, _, port = address.rpartition(":")

    # What Go and Node do for their programs, Python leaves to them.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.disable()  # not a line for each client that went

    context = None
    if args.cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(args.cert, args.key)
    if args.takeover:
        Echo.options = {}  # level 6

    application = Application(
        [(r"/.*", Broadcast if args.broadcast else Echo)],
        log_function=lambda handler: None,
        websocket_max_message_size=16 << 20,
    )
    HTTPServer(application, ssl_options=context).add_sockets(bind_sockets(int(port), host, backlog=4096))
    print("listening on", address, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
