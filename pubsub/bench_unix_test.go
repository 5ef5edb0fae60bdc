//go:build unix

package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
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
// publisher, the loops and the garbage collector in a server that has published for a while,
// topic-B what a topic takes with its member. The subscribers read between the measured parts.
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
	p := &publisher{b: b, hub: hub, srv: srv, topics: topics, payload: make([]byte, 64)}
	p.members = subscribeMany(b, hub, opened, topics, func() (net.Conn, error) { return dial(ln.Addr().String()) })
	p.sent, p.all = make([]int, len(p.members)), srv.Stats().BytesOut
	each := float64(heapNow()-before) / float64(topics)
	for before := collections(); collections() < before+2; p.read() { // then the heap does not grow any more
		for range publishedAtOnce {
			p.publish()
		}
	}
	measure(b, p.publish, p.passed, p.read)
	b.ReportMetric(each, "topic-B")
	for _, c := range p.members {
		_ = c.Close() // it was only to be there
	}
}

// publishedAtOnce is how many messages are published before the subscribers read: what they get fits into their
// sockets.
const publishedAtOnce = 100_000

// measure publishes b.N times and reports the user time until all has passed; the subscribers read outside of it.
func measure(b *testing.B, publish, passed, read func()) {
	var used time.Duration
	began, n := userTime(b), 0
	for b.Loop() {
		publish()
		if n++; n%publishedAtOnce == 0 {
			passed()
			used += userTime(b) - began
			b.StopTimer()
			read()
			b.StartTimer()
			began = userTime(b)
		}
	}
	passed()
	used += userTime(b) - began
	b.ReportMetric(float64(used)/float64(b.N), "user-ns/op")
}

// publisher publishes to topics in no order, each of one member.
type publisher struct {
	b       *testing.B
	hub     *pubsub.Hub
	srv     *server.Server
	topics  int
	members []net.Conn
	sent    []int  // bytes to each that it has not read
	all     uint64 // bytes that the server is to have written in all
	payload []byte
}

func (p *publisher) publish() {
	topic := rand.IntN(p.topics)
	m := pubsub.Message{Topic: topicName(topic), Payload: p.payload, Opcode: ws.Binary}
	_, err := p.hub.Publish(context.Background(), m, pubsub.PublishOptions{})
	for ; errors.Is(err, server.ErrNoRoom); _, err = p.hub.Publish(context.Background(), m, pubsub.PublishOptions{}) {
		time.Sleep(time.Millisecond) // the loops are far behind
	}
	if err != nil {
		p.b.Fatal(err)
	}
	frame := 2 + len(p.payload)
	p.sent[topic%len(p.members)] += frame
	p.all += uint64(frame)
}

// passed waits until the loops have written all.
func (p *publisher) passed() {
	for p.srv.Stats().BytesOut < p.all {
		time.Sleep(100 * time.Microsecond)
	}
}

// read has the members read what they were sent.
func (p *publisher) read() {
	for i, c := range p.members {
		if _, err := io.CopyN(io.Discard, c, int64(p.sent[i])); err != nil {
			p.b.Fatal(err)
		}
		p.sent[i] = 0
	}
}

// BenchmarkPublishBare is the least that BenchmarkPublish could take on sockets: it finds a connection by the
// topic's name in a map of the language, and writes a frame to it.
func BenchmarkPublishBare(b *testing.B) {
	for _, topics := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%dtopics", topics), func(b *testing.B) { benchmarkPublishBare(b, topics) })
	}
}

func benchmarkPublishBare(b *testing.B, topics int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	type conn struct {
		fd   int
		read net.Conn
		sent int
	}
	conns := make([]*conn, 1000)
	for i := range conns {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		accepted, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		file, err := accepted.(*net.TCPConn).File()
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _, _ = file.Close(), accepted.Close() }()
		conns[i] = &conn{fd: int(file.Fd()), read: c}
	}
	byName := make(map[string]*conn)
	for i := range topics {
		byName[topicName(i)] = conns[i%len(conns)]
	}
	frame := make([]byte, 66)
	read := func() {
		for _, c := range conns {
			if _, err := io.CopyN(io.Discard, c.read, int64(c.sent)); err != nil {
				b.Fatal(err)
			}
			c.sent = 0
		}
	}
	publish := func() {
		c := byName[topicName(rand.IntN(topics))]
		if n, err := syscall.Write(c.fd, frame); err != nil || n < len(frame) {
			b.Fatal(n, err)
		}
		c.sent += len(frame)
	}
	for range 10 {
		for range publishedAtOnce {
			publish()
		}
		read()
	}
	measure(b, publish, func() {}, read)
}

func topicName(i int) string { return "sensors/" + strconv.Itoa(i) + "/temperature" }

// collections is how many garbage collections have ended.
func collections() uint32 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NumGC
}

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
		if _, err := members[i].Read(make([]byte, 1024)); err != nil { // the response
			b.Fatal(err)
		}
		for t := i; t < topics; t += conns {
			if _, err := hub.Subscribe(c, topicName(t), pubsub.SubscribeOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return members
}
