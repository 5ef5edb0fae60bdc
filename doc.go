// Package millrace is the root of an event-loop WebSocket server: a library and
// a ready-to-run binary for very many connections on few cores and little
// memory. It holds no code; these packages do:
//
//   - [github.com/millrace/millrace/server] is where to start: a Server, a
//     Handler, connections.
//   - [github.com/millrace/millrace/ws] is the protocol, RFC 6455: bytes in,
//     bytes out, no I/O.
//   - [github.com/millrace/millrace/poller] is readiness and non-blocking I/O on
//     descriptors: epoll, kqueue, and an in-memory network for tests.
//   - [github.com/millrace/millrace/pubsub] has topics; pubsub/gateway has them by
//     URL, pubsub/nats on many nodes, client serves millrace.js.
//   - [github.com/millrace/millrace/server/servertest] tests handlers;
//     server/cert, server/prom, server/debug and server/xconnect are certificates that
//     change, metrics, a page of connections, and WebSockets over HTTP/2.
//   - [github.com/millrace/millrace/asynclog] keeps a slow log away from all else.
//   - [github.com/millrace/millrace/sse] and
//     [github.com/millrace/millrace/proxyproto] are the formats of event streams and
//     of the PROXY header.
//
// The command cmd/millrace serves out of the box. docs/ has a page for each
// subject, ARCHITECTURE.md follows a byte through the packages.
package millrace
