// Package ws speaks the WebSocket protocol (RFC 6455), with permessage-deflate
// (RFC 7692), for servers: bytes in, bytes out. It does no I/O, starts no
// goroutine and takes no lock, so the same code runs behind an event loop, in a
// test and in a fuzzer.
//
// A connection's bytes pass through it in this order:
//
//   - HeadScanner finds the end of the request head, Request vets it, and
//     AppendUpgrade (101) or AppendRefusal (anything else) answers it.
//   - Decoder turns the bytes behind the head into messages and control frames,
//     in place, and refuses bad ones with a *CloseError.
//   - AppendFrame, AppendClose, Deflater and Prepared make the frames that go
//     back.
//
// Request.SelectDeflate decides on compression; between messages a connection then
// keeps a Window in each direction with context takeover, and else nothing.
//
// For a client that drives its own I/O there is the other end of all this: see
// ClientRequest, CheckResponse, AppendMaskedFrame and ParseServerHeader.
//
// Nothing here is safe for concurrent use unless its comment says so. Every
// size that a peer chooses has a limit.
package ws
