// echo.js: an echo and broadcast server on npm's ws, which broadcasts to event streams of
// node:http too.
//
//   npm ci && node echo.js --listen 127.0.0.1:9001 [--broadcast] [--cert FILE --key FILE] [--deflate|--takeover]

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTLSServer } from 'node:https';
import { parseArgs } from 'node:util';
import { WebSocket, WebSocketServer } from 'ws';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: '127.0.0.1:9001' },
    broadcast: { type: 'boolean', default: false },
    cert: { type: 'string' },
    key: { type: 'string' },
    deflate: { type: 'boolean', default: false },
    takeover: { type: 'boolean', default: false } // the same: clients choose whether with context takeover
  }
});
const colon = values.listen.lastIndexOf(':');

if (!values.cert !== !values.key) {
  console.error('echo.js: --cert and --key, or none of them');
  process.exit(2);
}

// bufferutil is installed too: "opt-in for performance" in the README, ws uses it by
// itself. utf-8-validate is not: since Node 18.14 there is a better one in buffer.
// Compression is off by default, Nagle's algorithm is switched off by ws, and without
// clientTracking the server keeps no set of its clients.
const server = values.cert
  ? createTLSServer({ cert: readFileSync(values.cert), key: readFileSync(values.key) })
  : createServer();
const wss = new WebSocketServer({
  server,
  maxPayload: 16 << 20,
  clientTracking: values.broadcast,
  perMessageDeflate: values.deflate || values.takeover
});

// Event streams are responses that do not end.
const streams = new Set();
if (values.broadcast) {
  server.on('request', (request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.flushHeaders();
    streams.add(response);
    response.on('close', () => streams.delete(response));
  });
}

// The README's "Server broadcast".
const all = (data, isBinary) => {
  if (!isBinary && streams.size > 0) {
    const event = Buffer.from(`data: ${data.toString().replaceAll('\n', '\ndata: ')}\n\n`);
    for (const stream of streams) stream.write(event);
  }
  for (const client of wss.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
  }
};

wss.on('connection', (socket) => {
  const back = (data, isBinary) => socket.send(data, { binary: isBinary });
  socket.on('message', values.broadcast ? all : back);
  socket.on('error', () => {}); // of the peer, such as a bad frame; ws closes
});

server.listen({ host: values.listen.slice(0, colon), port: values.listen.slice(colon + 1), backlog: 4096 }, () => {
  console.log('listening on', values.listen);
});
