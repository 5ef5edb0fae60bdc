package server_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// FuzzTLS gives a server of TLS any bytes: as a ClientHello, whole or begun, behind one,
// and behind a handshake as records with right keys and any type, or as they are. What
// FuzzServer checks holds, and no connection is left.
func FuzzTLS(f *testing.F) {
	hello := helloBytes(f)
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), uint64(0))
	f.Add([]byte(hello[:len(hello)/2]), uint64(1))
	f.Add([]byte("\x17\x05hello\x16\x05\x18\x00\x00\x01\x01\x17\x00\x15\x02\x01\x00"), uint64(2))
	f.Add([]byte("\x16\x02\x18\x00\x16\x03\x00\x01\x00\xff\x09\x17\x03\x03\x00\x20garb"), uint64(3))
	f.Add([]byte("\x17\xff"+strings.Repeat(frame(opPing, "p"), 40)+"\x15\x02\x02\x28"), uint64(4))
	f.Add([]byte(strings.Repeat("\x16\x03\x01\x00\x01\x01", 3)), uint64(5))
	f.Add([]byte("\x16\x03\x01\x00\x02"+hello[5:7]+"\x16\x03\x03\x01\x00"+hello[7:263]+"\x16\x03\x00\x40\x00"+hello[263:]), uint64(6))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) > 16<<10 {
			return
		}
		config := simnet.Config{SendBuffer: 500 + int(seed%5000), StaleEvents: seed%2 == 0}
		if seed%3 > 0 {
			config.Script = simnet.Chop(seed)
		}
		n, addr, srv := startTLSSim(t, config, func(srv *server.Server) {
			srv.Runtime.Loops = 2
			srv.Limits.TLSHandshakes = 1 + int(seed%3)
			srv.Queue.Max = 20_000
		})
		feed(t, n, addr, data, hello, seed)
		c, s := sealedOn(t, n, addr)
		sendSealed(t, n, s, data)
		_ = c.under().Close() // it may be closed
		eventuallyOn(t, n, "no connection", func() bool { return srv.Stats().Open == 0 })
		if got := srv.Stats(); got.Panics != 0 {
			t.Errorf("%+v: something panicked", got)
		}
	})
}

// sendSealed makes records of data: a type, a length and so many bytes each; what
// has a type that is none goes out as it is.
func sendSealed(t *testing.T, n *simnet.Network, s *sealer, data []byte) {
	for len(data) >= 2 {
		kind, size := data[0], min(int(data[1]), len(data)-2)
		record := string(data[2 : 2+size])
		if data = data[2+size:]; kind < 200 {
			record = s.record(kind, record)
		}
		for len(record) > 0 {
			sent, err := s.conn.(*simnet.Conn).TryWrite([]byte(record))
			if record = record[sent:]; err == poller.ErrAgain { // a server that ends reads no more
				idle(t, n)
				n.Advance(second)
			} else if err != nil {
				return // it was closed
			}
		}
	}
}
