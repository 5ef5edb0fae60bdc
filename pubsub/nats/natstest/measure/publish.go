package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/internal/process"
	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// window is how many messages are under way.
const window = 1000

// path is a way for messages from one connection to another one, both of this process.
type path struct {
	publish func() error
	came    *atomic.Int64
	server  *natsServer
	figures figures
}

// measurePublish measures a message from node to node beside nats.go alone, in turns.
func measurePublish(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("publish", flag.ContinueOnError)
	pairs, messages, size := set.Int("pairs", 24, "how often"), set.Int("messages", 200_000, "messages each time"), set.Int("size", 100, "bytes of a message")
	if err := parse(set, args); err != nil {
		return err
	}
	both, err := publishBoth(ctx, *pairs, *messages, *size)
	if err != nil {
		return err
	}
	table(fmt.Sprintf("a message of %d bytes", *size), []string{"pubsub/nats", "nats.go"}, both)
	for _, name := range []string{cpuTime, allTime, wallTime} {
		var ratios []float64
		for i, v := range both[0].values[name] {
			ratios = append(ratios, v/both[1].values[name][i])
		}
		low, high := interval(ratios)
		fmt.Printf("%s: %.2fx [%.2f, %.2f] in the middle of %d pairs\n", name, median(ratios), low, high, len(ratios))
	}
	return nil
}

// publishBoth measures both paths, in turns.
func publishBoth(ctx context.Context, pairs, messages, size int) (all []*figures, err error) {
	s, err := startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer s.end()
	payload := make([]byte, size)
	ours, endOurs, err := throughNodes(s.url, payload)
	if err != nil {
		return nil, err
	}
	defer endOurs()
	bare, endBare, err := throughBare(s.url, payload)
	if err != nil {
		return nil, err
	}
	defer endBare()
	both := []*path{ours, bare}
	for _, p := range both { // to warm up
		p.server = s
		if err := p.pass(ctx, messages); err != nil {
			return nil, err
		}
		p.figures = figures{}
	}
	for i := range pairs {
		for turn := range both {
			if err := both[(i+turn)%2].pass(ctx, messages); err != nil {
				return nil, err
			}
		}
	}
	return []*figures{&ours.figures, &bare.figures}, nil
}

const (
	cpuTime  = "CPU of publisher and subscriber, ns"
	allTime  = "CPU of publisher, subscriber and nats-server, ns"
	wallTime = "time, ns"
)

// pass publishes messages, and waits until all have come.
func (p *path) pass(ctx context.Context, messages int) error {
	self, err := process.Self()
	if err != nil {
		return err
	}
	before, err := self.Usage()
	if err != nil {
		return err
	}
	servers, err := p.server.use()
	if err != nil {
		return err
	}
	var memory, memoryThen runtime.MemStats
	runtime.ReadMemStats(&memory)
	began, came := time.Now(), p.came.Load()
	wait := func(least int64) error {
		for p.came.Load()-came < least {
			if ctx.Err() != nil || time.Since(began) > patience {
				return errors.New("messages do not come")
			}
			time.Sleep(20 * time.Microsecond)
		}
		return nil
	}
	for i := range messages {
		if err := p.publish(); err != nil {
			return err
		}
		if err := wait(int64(i) - window); err != nil {
			return err
		}
	}
	if err := wait(int64(messages)); err != nil {
		return err
	}
	passed := time.Since(began)
	runtime.ReadMemStats(&memoryThen)
	after, err := self.Usage()
	if err != nil {
		return err
	}
	serversThen, err := p.server.use()
	each, own := float64(messages), after.CPU-before.CPU
	p.figures.add(cpuTime, float64(own)/each)
	p.figures.add(allTime, float64(own+serversThen.cpu-servers.cpu)/each)
	p.figures.add(wallTime, float64(passed)/each)
	p.figures.add("allocations", float64(memoryThen.Mallocs-memory.Mallocs)/each)
	p.figures.add("bytes allocated", float64(memoryThen.TotalAlloc-memory.TotalAlloc)/each)
	return err
}

// counter is a receiver that counts.
type counter struct{ came atomic.Int64 }

// Receive implements pubsub.Receiver.
func (c *counter) Receive(pubsub.Message, pubsub.PublishOptions) (int, error) {
	c.came.Add(1)
	return 0, nil
}

// Missed implements pubsub.Receiver.
func (c *counter) Missed(string) {}

// throughNodes is from node to node.
func throughNodes(url string, payload []byte) (*path, func(), error) {
	c := &counter{}
	var brokers []*nats.Broker
	end := func() {
		for _, b := range brokers {
			_ = b.Close()
		}
	}
	for _, r := range []pubsub.Receiver{nobody{}, c} {
		b := nats.New(nats.Options{URLs: []string{url}, Logger: warnings()})
		if err := b.Start(r); err != nil {
			end()
			return nil, nil, err
		}
		brokers = append(brokers, b)
	}
	m := pubsub.Message{Topic: "ours/topic", Payload: payload}
	brokers[1].Interest(m.Topic, true)
	brokers[1].Position(m.Topic)
	publish := func() error {
		_, err := brokers[0].Publish(context.Background(), m, pubsub.PublishOptions{})
		return err
	}
	return &path{publish: publish, came: &c.came}, end, nil
}

// throughBare is with nats.go alone.
func throughBare(url string, payload []byte) (*path, func(), error) {
	from, err := connect(url)
	if err != nil {
		return nil, nil, err
	}
	to, err := connect(url)
	if err != nil {
		from.Close()
		return nil, nil, err
	}
	end := func() {
		from.Close()
		to.Close()
	}
	in := make(chan *natsgo.Msg, 1<<16)
	if _, err = to.ChanSubscribe("bare.topic", in); err == nil {
		err = to.Flush()
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	came := &atomic.Int64{}
	go func() { // ends with the process
		for range in {
			came.Add(1)
		}
	}()
	return &path{publish: func() error { return from.Publish("bare.topic", payload) }, came: came}, end, nil
}
