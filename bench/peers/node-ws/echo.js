// echo.js: an echo server on npm's ws.
//
//   npm ci && node echo.js --listen 127.0.0.1:9001

import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const { values } = parseArgs({ options: { listen: { type: 'string', default: '127.0.0.1:9001' } } });
const colon = values.listen.lastIndexOf(':');

// bufferutil is installed too: "opt-in for performance" in the README, ws uses it by
// itself. utf-8-validate is not: since Node 18.14 there is a better one in buffer.
// Compression is off by default, Nagle's algorithm is switched off by ws, and without
// clientTracking the server keeps no set of its clients.
const server = createServer();
const wss = new WebSocketServer({ server, maxPayload: 16 << 20, clientTracking: false });

wss.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on('error', () => {}); // of the peer, such as a bad frame; ws closes
});

server.listen({ host: values.listen.slice(0, colon), port: values.listen.slice(colon + 1), backlog: 4096 }, () => {
  console.log('listening on', values.listen);
});
