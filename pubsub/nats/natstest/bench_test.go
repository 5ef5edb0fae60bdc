package natstest

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

const window = 1000 // messages under way

// counter is a receiver that counts.
type counter struct{ came, missed atomic.Int64 }

func (c *counter) Receive(pubsub.Message, pubsub.PublishOptions) (int, error) {
	c.came.Add(1)
	return 0, nil
}

func (c *counter) Missed(string) { c.missed.Add(1) }

func startCounter(b *testing.B, o nats.Options) (*nats.Broker, *counter) {
	o.Logger = quiet()
	broker, c := nats.New(o), &counter{}
	if err := broker.Start(c); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = broker.Close() })
	return broker, c
}

// through publishes b.N messages, with a window of them under way, and tells the CPU time of the process
// for each.
func through(b *testing.B, publish func() error, came func() int64) {
	b.Helper()
	began, used := came(), cpu(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := publish(); err != nil {
			b.Fatal(err)
		}
		for int64(i)-(came()-began) > window {
			time.Sleep(20 * time.Microsecond)
		}
	}
	for came()-began < int64(b.N) {
		time.Sleep(20 * time.Microsecond)
	}
	b.ReportMetric(float64((cpu(b)-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkNodeToNode is a message of 100 bytes from one node to another one; server and both nodes share
// this process.
func BenchmarkNodeToNode(b *testing.B) {
	s := startServer(b)
	from, _ := startCounter(b, nats.Options{URLs: []string{s.url()}})
	to, c := startCounter(b, nats.Options{URLs: []string{s.url()}})
	to.Interest("a/b", true)
	to.Position("a/b")
	m := pubsub.Message{Topic: "a/b", Payload: make([]byte, 100)}
	through(b, func() error {
		_, err := from.Publish(context.Background(), m, pubsub.PublishOptions{})
		return err
	}, c.came.Load)
}

// BenchmarkBareNATS is the same with nats.go alone.
func BenchmarkBareNATS(b *testing.B) {
	s := startServer(b)
	from, to := dial(b, s.url()), dial(b, s.url())
	in := make(chan *natsgo.Msg, 1<<16)
	if _, err := to.ChanSubscribe("a.b", in); err != nil || to.Flush() != nil {
		b.Fatal(err)
	}
	var came atomic.Int64
	go func() {
		for range in {
			came.Add(1)
		}
	}()
	payload := make([]byte, 100)
	through(b, func() error { return from.Publish("a.b", payload) }, came.Load)
	to.Close()
	close(in)
}

// BenchmarkStore is a message to a stream in memory, until it is acknowledged and has come to another node.
func BenchmarkStore(b *testing.B) {
	s := startServer(b)
	o := streamed(s.url(), "B")
	o.Stream.Memory = true
	from, _ := startCounter(b, o)
	to, c := startCounter(b, o)
	to.Interest("kept/b", true)
	to.Position("kept/b")
	m := pubsub.Message{Topic: "kept/b", Payload: make([]byte, 100)}
	through(b, func() error {
		_, err := from.Publish(context.Background(), m, pubsub.PublishOptions{})
		return err
	}, c.came.Load)
}

// cpu is what the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
