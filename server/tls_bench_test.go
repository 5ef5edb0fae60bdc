package server_test

import (
	"crypto/tls"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// BenchmarkTLSConnectionMemory prints what an idle connection costs the server
// beyond a plain one: heap-B/conn.
func BenchmarkTLSConnectionMemory(b *testing.B) {
	const conns = 10_000
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		b.Run(tls.VersionName(version), func(b *testing.B) {
			for b.Loop() {
				plain := idleMemory(b, conns, nil)
				config := clientTLS()
				config.MaxVersion = version
				b.ReportMetric(idleMemory(b, conns, config)-plain, "heap-B/conn")
			}
			b.ReportMetric(0, "ns/op") // says nothing
		})
	}
}

// idleMemory is what n open connections take each, of which the clients' own
// memory but for simnet's is let go.
func idleMemory(b *testing.B, n int, config *tls.Config) float64 {
	network := simnet.New(simnet.Config{Preallocate: n})
	srv := &server.Server{Handler: echo{}}
	if config != nil {
		withTLS(nil)(srv)
	}
	addr, stop := serveOn(b, network, srv)
	before := memoryInUse()
	conns := make([]*simnet.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = network.Dial(addr.String()); err != nil {
			b.Fatal(err)
		}
		c := &client{Conn: conns[i], t: b}
		if config != nil {
			c.Conn = tls.Client(conns[i], config)
		}
		talk(b, c)
	}
	used := memoryInUse() - before
	for _, c := range conns {
		_ = c.Close()
	}
	stop()
	return float64(used) / float64(n)
}

// talk upgrades c and has a message echoed.
func talk(b *testing.B, c *client) {
	c.send(upgradeRequest())
	readUntil(b, c, "\r\n\r\n")
	c.send(frame(opText, pattern(1, 64)))
	readUntil(b, c, pattern(1, 64))
}

// readUntil reads without a buffer of c's own.
func readUntil(b *testing.B, c *client, end string) {
	var got []byte
	for len(got) < len(end) || string(got[len(got)-len(end):]) != end {
		var one [1]byte
		if _, err := c.Conn.Read(one[:]); err != nil {
			b.Fatal(err)
		}
		got = append(got, one[0])
	}
}
