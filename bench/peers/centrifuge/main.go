// Command centrifuge is a broadcast server on github.com/centrifugal/centrifuge: all
// connections are subscribed to one channel by the server, and each message is
// published there.
//
// The library speaks a protocol of its own, which a load of plain messages does not.
// So a transport of our own, which it documents, takes the message out of each of its
// pushes. All between is the library's: broker, hub, encoding once for all, and a
// queue and a goroutine that writes for each connection.
//
// With --nats URL it is one of several nodes. Each connection is then told that it is
// subscribed, with the message "subscribed false": that something may be missing.
package main

import (
	"bytes"
	"context"
	"flag"
	"log"
	"net"

	"github.com/centrifugal/centrifuge"
	"github.com/gobwas/ws"

	"github.com/millrace/millrace/bench/peers/frames"
	"github.com/millrace/millrace/bench/peers/peer"
)

const (
	channel    = "all"
	readBuffer = 4 << 10
	// The default cuts a connection for which 1 MiB waits; with this much one bears a
	// burst of messages as long as can be.
	maxQueue = 4 * peer.MaxMessage
)

// publisher publishes frames as they are to be sent, made once. What one read has
// brought is one publication, between nodes each frame.
type publisher struct {
	node  *centrifuge.Node
	apart bool
}

func (p publisher) Write(frames []byte) (int, error) {
	all := len(frames)
	for rest := frames; len(rest) > 0; {
		one := rest
		if p.apart {
			r := bytes.NewReader(rest)
			h, err := ws.ReadHeader(r)
			if err != nil {
				return 0, err
			}
			one = rest[:len(rest)-r.Len()+int(h.Length)]
		}
		if _, err := p.node.Publish(channel, bytes.Clone(one)); err != nil {
			return 0, err
		}
		rest = rest[len(one):]
	}
	return all, nil
}

// serve upgrades a connection, has the library subscribe it, and publishes what it
// sends. tell: it is told that it is subscribed.
func serve(node *centrifuge.Node, c net.Conn, tell bool) {
	defer c.Close()
	echo := frames.Echo{All: publisher{node, tell}}
	if echo.Upgrade(c, false) != nil {
		return // it has answered
	}
	client, end, err := centrifuge.NewClient(context.Background(), node, transport{c})
	if err != nil {
		return
	}
	defer end()
	client.Connect(centrifuge.ConnectRequest{})
	if tell && ws.WriteFrame(c, ws.NewTextFrame([]byte("subscribed false"))) != nil {
		return
	}
	buf, have := make([]byte, readBuffer), 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		used, need, err := echo.Answer(buf[:have], c)
		if err != nil {
			return
		}
		have = copy(buf, buf[used:have])
		if need > len(buf) {
			buf = append(make([]byte, 0, need), buf[:have]...)[:need]
		}
	}
}

func main() {
	const own = "the library compresses only in its own WebSocket handler, which speaks its own protocol"
	natsURL := flag.String("nats", "", "`URL` of a server of NATS by which it is one of several nodes")
	command := peer.Parse(peer.Lacking{"deflate": own, "takeover": own})
	if !command.Broadcast {
		peer.Refuse("--broadcast is what the library is for: it does not echo")
	}
	node, err := centrifuge.New(centrifuge.Config{ClientQueueMaxSize: maxQueue})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {}},
		}, nil
	})
	if *natsURL != "" {
		broker, err := dialNATS(*natsURL)
		if err != nil {
			log.Fatal(err)
		}
		node.SetBroker(broker)
	}
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	ln := command.Listen()
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(node, c, *natsURL != "")
	}
}
