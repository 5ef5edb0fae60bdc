package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// scripts are the kernels that take and give bytes as it suits them.
func scripts() map[string]simnet.Config {
	all := map[string]simnet.Config{
		"a byte a call":       {Script: simnet.OneByte},
		"a window of one":     {SendBuffer: 1, RecvBuffer: 1},
		"a window of seven":   {SendBuffer: 7, Script: simnet.Chop(7)},
		"a small window":      {SendBuffer: 1000, RecvBuffer: 3000},
		"each other EAGAIN":   {Script: eachOther},
		"whatever comes":      {},
		"short at the header": {Script: shortAtHeader},
	}
	for seed := range uint64(5) {
		all[fmt.Sprint("chopped ", seed)] = simnet.Config{Script: simnet.Chop(seed), SendBuffer: 10_000}
	}
	return all
}

// eachOther answers every other write with EAGAIN, as if the window was full.
func eachOther(call simnet.Call) simnet.Verdict {
	return simnet.Verdict{Again: call.Op == simnet.OpWrite && call.Seq%2 == 0}
}

// shortAtHeader has each write take a number of bytes that walks through all
// offsets of a frame header.
func shortAtHeader(call simnet.Call) simnet.Verdict {
	if call.Op != simnet.OpWrite {
		return simnet.Verdict{}
	}
	return simnet.Verdict{Limit: 1 + call.Seq%13}
}

// rounds is how often a test repeats itself: kernels that move single bytes are
// slow.
func rounds(config simnet.Config) int {
	if config.SendBuffer == 1 || config.SendBuffer == 7 || config.Script != nil && config.SendBuffer == 0 {
		return 1
	}
	return 4
}

// sizes are payloads of each length form, of the cork, of the direct write and
// of more than a window.
var sizes = []int{0, 1, 125, 126, 5000, 24<<10 - 1, 24 << 10, 40_000}

// TestIdenticalStream sends messages of all sizes and kinds through kernels that
// take them in pieces: what the peer reads is the same.
func TestIdenticalStream(t *testing.T) {
	for name, config := range scripts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, addr, _ := startSim(t, config, func(srv *server.Server) {
				srv.Handler = onlyMessage(sendAllSizes)
			})
			c := dialSim(t, n, addr).upgraded()
			for round := range rounds(config) {
				c.send(frame(opText, string(rune('0'+round))))
				for i, size := range sizes {
					c.expect(opBinary, pattern(round*100+i, size))
					c.expect(opText, pattern(round*100+50+i, size))
					c.expect(opPing, fmt.Sprint(round, i))
				}
			}
			c.send(frame(opClose, closePayload(1000, "")))
			c.expectClose(1000)
		})
	}
}

// sendAllSizes sends plain and prepared messages and pings: into the cork until
// it spills over, then to the kernel or the queue.
func sendAllSizes(c *server.Conn, m ws.Message) {
	round := int(m.Payload[0] - '0')
	for i, size := range sizes {
		_ = c.Send(ws.Binary, []byte(pattern(round*100+i, size)))                      // the peer misses
		_ = c.SendPrepared(ws.Prepare(ws.Text, []byte(pattern(round*100+50+i, size)))) // what failed
		_ = c.Ping([]byte(fmt.Sprint(round, i)))
	}
}

// pattern is a payload that says which it is.
func pattern(which, size int) string {
	text := fmt.Sprintf("<%d of %d>", which, size)
	return strings.Repeat(text, size/len(text)+1)[:size]
}

// TestEchoInPieces is an echo of many connections through one chopping kernel.
func TestEchoInPieces(t *testing.T) {
	n, addr, _ := startSim(t, simnet.Config{Script: simnet.Chop(99), SendBuffer: 3000}, nil)
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = dialSim(t, n, addr).upgraded()
	}
	for _, size := range sizes {
		for i, c := range clients {
			go func() { _, _ = c.Write([]byte(frame(opText, pattern(i, size)))) }() // a failure is missed below
		}
		for i, c := range clients {
			c.expect(opText, pattern(i, size))
		}
	}
}
