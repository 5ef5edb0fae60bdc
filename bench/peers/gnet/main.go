// Command gnet is an echo and broadcast server on github.com/panjf2000/gnet with
// the upgrade and the frames of github.com/gobwas/ws.
package main

import (
	"bytes"
	"io"
	"log"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"

	"github.com/millrace/millrace/bench/peers/frames"
	"github.com/millrace/millrace/bench/peers/peer"
)

const maxRequest = 16 << 10 // bytes of the upgrade request

// client is the state of a connection.
type client struct {
	upgraded bool
	need     int // as long as fewer bytes are there, there is nothing to do
	echo     frames.Echo
	loop     *loop // of a broadcast, once it is upgraded
}

type server struct {
	gnet.BuiltinEventEngine
	address string
	deflate bool
	room    *room // nil: echo
}

// OnBoot: the socket listens already.
func (s *server) OnBoot(gnet.Engine) gnet.Action {
	peer.Accepting(s.address)
	return gnet.None
}

func (s *server) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(new(client))
	return nil, gnet.None
}

func (s *server) OnClose(c gnet.Conn, _ error) gnet.Action {
	if cl, ok := c.Context().(*client); ok && cl.loop != nil {
		cl.loop.remove(c)
	}
	return gnet.None
}

// OnTraffic works on what Peek gives without copying: in most cases the loop's
// read buffer. Of a frame that comes in parts gnet keeps those that came; only
// when it is whole they are looked at, for Peek joins them by copying.
func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	cl := c.Context().(*client)
	if c.InboundBuffered() < cl.need {
		return gnet.None
	}
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	used := 0
	if !cl.upgraded {
		if used, err = s.upgrade(in, cl, c); err != nil {
			return gnet.Close
		}
	}
	if cl.upgraded {
		var n int
		if n, cl.need, err = cl.echo.Answer(in[used:], c); err != nil {
			return gnet.Close
		}
		used += n
	}
	if used > 0 { // Discard(0) would discard all
		_, _ = c.Discard(used)
	}
	return gnet.None
}

// upgrade answers a whole request, and tells its length; 0: it is not whole yet.
// The Upgrader reads ahead, so it must not see what follows the request.
func (s *server) upgrade(in []byte, cl *client, c gnet.Conn) (used int, err error) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		if len(in) > maxRequest {
			return 0, io.ErrShortBuffer
		}
		return 0, nil
	}
	used = end + len("\r\n\r\n")
	request := struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(in[:used]), c}
	if err := cl.echo.Upgrade(request, s.deflate); err != nil {
		return 0, err
	}
	cl.upgraded = true
	if s.room != nil {
		cl.loop = s.room.of(c)
		cl.loop.add(c)
		cl.echo.All = cl.loop
	}
	return used, nil
}

func main() {
	command := peer.Parse(peer.Lacking{
		"cert":     "gnet has no TLS",
		"key":      "gnet has no TLS",
		"takeover": "package wsflate of gobwas/ws compresses a message by itself (its ServerNoContextTakeover)",
	})
	s := &server{address: command.Address, deflate: command.Deflate}
	if command.Broadcast {
		s.room = new(room)
	}
	log.Fatal(gnet.Run(s, "tcp://"+s.address,
		// "Increased to read more data from a socket", as its documentation has it: a
		// loop has one such buffer, and with the default of 64 KiB a message of 64 KiB
		// takes two reads.
		gnet.WithReadBufferCap(256<<10),
		gnet.WithMulticore(true),              // as many loops as the process may use cores
		gnet.WithReusePort(true),              // each loop accepts by itself; as in gnet's own WebSocket example
		gnet.WithLogger(zap.NewNop().Sugar()), // it would print its start
	))
}
