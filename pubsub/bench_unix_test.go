//go:build unix

package pubsub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// userTime is the CPU time that this process has used so far, its system calls aside.
func userTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano())
}

// BenchmarkPublish publishes to one of many topics with a subscriber each, on a network in
// memory: user-ns is the CPU time of the publisher and of the loops, topic-B what a topic takes
// with its member. Run it with -benchtime 200000x: nobody reads.
func BenchmarkPublish(b *testing.B) {
	const conns = 1000
	for _, topics := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%dtopics", topics), func(b *testing.B) {
			n := simnet.New(simnet.Config{SendBuffer: 1 << 20})
			opened := make(chan *server.Conn, conns)
			srv := &server.Server{Handler: server.HandlerFuncs{OnOpen: func(c *server.Conn) { opened <- c }}}
			srv.Runtime.Engine, srv.Runtime.Loops, srv.Keepalive.Interval = n, 2, -1
			ln, err := srv.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			go func() { _ = srv.Serve(ln) }() // until Close
			defer func() { _ = srv.Close() }()
			hub, err := pubsub.New(srv, pubsub.Options{Limits: pubsub.Limits{Topics: -1}})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = hub.Close() }()
			before := heapNow()
			subscribeMany(b, n, ln.Addr().String(), hub, opened, conns, topics)
			b.ReportMetric(float64(heapNow()-before)/float64(topics), "topic-B")
			payload := make([]byte, 64)
			names := make([]string, topics)
			for i := range names {
				names[i] = topicName(i)
			}
			began := userTime(b)
			for b.Loop() {
				m := pubsub.Message{Topic: names[rand.IntN(topics)], Payload: payload, Opcode: ws.Binary}
				if _, err := hub.Publish(context.Background(), m, pubsub.PublishOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			n.WaitIdle(time.Minute)
			b.ReportMetric(float64(userTime(b)-began)/float64(b.N), "user-ns/op")
		})
	}
}

func topicName(i int) string { return fmt.Sprintf("sensors/%d/temperature", i) }

func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// subscribeMany opens connections and has them subscribe to topics in turn.
func subscribeMany(b *testing.B, n *simnet.Network, addr string, hub *pubsub.Hub, opened <-chan *server.Conn, conns, topics int) {
	request := (&ws.ClientRequest{Host: "example.com", Target: "/"}).Append(nil, "dGhlIHNhbXBsZSBub25jZQ==")
	for i := range conns {
		client, err := n.Dial(addr)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := client.Write(request); err != nil {
			b.Fatal(err)
		}
		c := <-opened
		for t := i; t < topics; t += conns {
			if _, err := hub.Subscribe(c, topicName(t), pubsub.SubscribeOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	n.WaitIdle(time.Minute)
}
