"""echo.py: an echo server on Tornado.

    /usr/bin/python3 echo.py --listen 127.0.0.1:9001
"""

import argparse
import asyncio
import logging
import resource

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler


class Echo(WebSocketHandler):
    # Compression is off by default, and so are pings by the server. Debian's package
    # has the C extension that unmasks.

    def check_origin(self, origin):
        return True

    def open(self):
        self.set_nodelay(True)

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:9001", metavar="HOST:PORT")
    address = parser.parse_args().listen
    host, _, port = address.rpartition(":")

    # What Go and Node do for their programs, Python leaves to them.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.disable()  # not a line for each client that went

    application = Application(
        [(r"/.*", Echo)],
        log_function=lambda handler: None,
        websocket_max_message_size=16 << 20,
    )
    HTTPServer(application).add_sockets(bind_sockets(int(port), host, backlog=4096))
    print("listening on", address, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
