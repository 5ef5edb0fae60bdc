//go:build unix

package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
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

// BenchmarkPublish publishes to one of many topics with a subscriber each, on sockets and on a
// network in memory, whose reads and writes are user time too: user-ns is the CPU time of the
// publisher and of the loops, topic-B what a topic takes with its member. Run it with
// -benchtime 200000x: nobody reads.
func BenchmarkPublish(b *testing.B) {
	n := simnet.New(simnet.Config{SendBuffer: 1 << 20})
	for _, on := range []struct {
		name   string
		engine poller.Engine
		dial   func(addr string) (net.Conn, error)
	}{
		{"sockets", nil, func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }},
		{"memory", n, func(addr string) (net.Conn, error) { return n.Dial(addr) }},
	} {
		for _, topics := range []int{1000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%dtopics", on.name, topics), func(b *testing.B) {
				benchmarkPublish(b, on.engine, on.dial, topics)
			})
		}
	}
}

func benchmarkPublish(b *testing.B, engine poller.Engine, dial func(addr string) (net.Conn, error), topics int) {
	opened := make(chan *server.Conn, 1)
	srv := &server.Server{Handler: server.HandlerFuncs{OnOpen: func(c *server.Conn) { opened <- c }}}
	srv.Runtime.Engine, srv.Runtime.Loops, srv.Keepalive.Interval = engine, 2, -1
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
	members := subscribeMany(b, hub, opened, topics, func() (net.Conn, error) { return dial(ln.Addr().String()) })
	each := float64(heapNow()-before) / float64(topics)
	payload := make([]byte, 64)
	sent := srv.Stats().BytesOut
	began := userTime(b)
	for b.Loop() {
		m := pubsub.Message{Topic: topicName(rand.IntN(topics)), Payload: payload, Opcode: ws.Binary}
		_, err := hub.Publish(context.Background(), m, pubsub.PublishOptions{})
		for ; errors.Is(err, server.ErrNoRoom); _, err = hub.Publish(context.Background(), m, pubsub.PublishOptions{}) {
			time.Sleep(time.Millisecond) // the loops are far behind
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for frame := uint64(2 + len(payload)); srv.Stats().BytesOut < sent+frame*uint64(b.N); {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(each, "topic-B")
	b.ReportMetric(float64(userTime(b)-began)/float64(b.N), "user-ns/op")
	for _, c := range members {
		_ = c.Close() // it was only to be there
	}
}

func topicName(i int) string { return "sensors/" + strconv.Itoa(i) + "/temperature" }

func heapNow() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// subscribeMany opens connections and has them subscribe to topics in turn.
func subscribeMany(b *testing.B, hub *pubsub.Hub, opened <-chan *server.Conn, topics int, dial func() (net.Conn, error)) []net.Conn {
	const conns = 1000
	request := (&ws.ClientRequest{Host: "example.com", Target: "/"}).Append(nil, "dGhlIHNhbXBsZSBub25jZQ==")
	members := make([]net.Conn, conns)
	for i := range members {
		var err error
		if members[i], err = dial(); err != nil {
			b.Fatal(err)
		}
		if _, err := members[i].Write(request); err != nil {
			b.Fatal(err)
		}
		c := <-opened
		for t := i; t < topics; t += conns {
			if _, err := hub.Subscribe(c, topicName(t), pubsub.SubscribeOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return members
}
