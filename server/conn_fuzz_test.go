package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// FuzzServer gives a whole server any bytes in any split, on several connections
// whose kernel chops them further: no handler panics, the poller contract is kept,
// every Open has one Close, and no descriptor is left.
func FuzzServer(f *testing.F) {
	f.Add([]byte(upgradeRequest()+frame(opText, "hello")+frame(opClose, closePayload(1000, "bye"))), uint64(0))
	f.Add([]byte(upgradeRequest()+fragment(opText, "frag")+frame(opPing, "p")+frame(opContinuation, "ment")), uint64(1))
	f.Add([]byte(upgradeRequest("Origin: null")+rawFrame(0xf3, "reserved")), uint64(2))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"+upgradeRequest()), uint64(3))
	f.Add([]byte(strings.Repeat("\x16\x03\x01", 50)), uint64(4))
	f.Add([]byte(upgradeRequest()+frame(opBinary, strings.Repeat("big", 7000))+frame(opText, "\xff")), uint64(5))
	f.Add([]byte(proxyV2(0x21, 0x11, proxyInet+vector(0x20, "\x01\x00\x00\x00\x00"))+upgradeRequest()), uint64(10))
	f.Add([]byte(proxyV1+proxyV1), uint64(17))
	packed := (&deflater{client: &client{}}).pack(news(200, 1))
	f.Add([]byte(frame(opText|rsv1, packed)+fragment(opText|rsv1, packed[:20])+frame(opPing, "p")+frame(opContinuation, packed[20:])), uint64(8))
	f.Add([]byte(frame(opText|rsv1, packed)+frame(opBinary|rsv1, "\x06")), uint64(20))
	f.Add([]byte(eventRequest("/", "Last-Event-ID: 1")+eventRequest("/")), uint64(4))
	f.Add([]byte(strings.Repeat("x", 30_000)), uint64(10))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) > 64<<10 {
			return
		}
		config := simnet.Config{SendBuffer: 500 + int(seed%5000), StaleEvents: seed%2 == 0}
		if seed%3 > 0 {
			config.Script = simnet.Chop(seed)
		}
		n, addr, srv := startSim(t, config, func(srv *server.Server) {
			srv.Runtime.Loops = 2
			srv.Proxy.Protocol = seed%7 == 3
			srv.EventStreams = seed%3 == 1
			srv.Limits.Message = 16 << 10
			srv.Queue.Max = 20_000
			srv.Queue.HighWater = int(seed % 9 * 1000) // 0 is the default
			if seed%5 == 2 {
				srv.Handler = onlyMessage(func(c *server.Conn, m ws.Message) {
					c.PauseReading()
					_ = c.Send(m.Opcode, m.Payload) // closing: as it should
					go c.ResumeReading()
				})
			}
			if seed%4 == 0 {
				srv.Deflate = &server.Deflate{ServerTakeover: true, ClientTakeover: seed%8 == 0, Threshold: 20, MaxWindows: 50_000}
			}
		})
		valid := upgradeRequest()
		if seed%4 == 0 {
			valid = upgradeRequest("Sec-WebSocket-Extensions: " + offerDeflate)
		}
		if seed%6 == 4 {
			valid = eventRequest("/")
		}
		if srv.Proxy.Protocol {
			valid = proxyV1 + valid
		}
		feed(t, n, addr, data, valid, seed)
		if got := srv.Stats(); got.Panics != 0 {
			t.Errorf("%+v: something panicked", got)
		}
	})
}

// feed sends data over four connections, in pieces of which seed decides: to one
// as it is, to the others behind a valid upgrade. Some read, some do not.
func feed(t *testing.T, n *simnet.Network, addr string, data []byte, valid string, seed uint64) {
	conns := make([]*simnet.Conn, 4)
	rest := make([][]byte, len(conns))
	for i := range conns {
		c, err := n.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
		if rest[i] = data; i > 0 {
			rest[i] = append([]byte(valid), data...)
		}
	}
	buf := make([]byte, 4<<10)
	for turn := uint64(0); len(rest[0])+len(rest[1])+len(rest[2])+len(rest[3]) > 0; turn++ {
		i := (turn ^ seed>>(turn%60)) % uint64(len(conns))
		size := min(len(rest[i]), 1+int((seed>>(turn%50))%2000))
		sent, err := conns[i].TryWrite(rest[i][:size])
		rest[i] = rest[i][sent:]
		if err != nil && err != poller.ErrAgain {
			rest[i] = nil // it was closed
		}
		if i%2 == 0 || err == poller.ErrAgain {
			_, _ = conns[i].TryRead(buf) // whatever it says
		}
		if turn > 20_000 {
			break
		}
	}
	idle(t, n)
	if seed%5 == 0 {
		n.Advance(time.Minute)
		idle(t, n)
	}
	for i, c := range conns {
		if seed%2 == 0 && i%2 == 0 {
			_ = c.CloseWrite() // it may be closed, as below
			idle(t, n)
		}
		_ = c.Close()
	}
	idle(t, n)
}
