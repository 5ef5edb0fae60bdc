package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// ways are the ways of interest.
var ways = []string{"topic", "partition", "all"}

// way is a way of interest by its name.
func way(name string) (nats.Interest, error) {
	i := slices.Index(ways, name)
	if i < 0 {
		return 0, fmt.Errorf("no such way of interest: %q", name)
	}
	return nats.Interest(i), nil
}

// topicName is the name of a topic by its number.
func topicName(i int) string { return fmt.Sprintf("rooms/%d/messages", i) }

// samples is to how many topics messages are published, from each of two servers, to see whether they come.
const samples = 100

// sample are topics, spread over all, to which a message from one of two servers has to come.
func sample(topics, from int) (names []string) {
	for i := range samples {
		names = append(names, topicName((2*i+from)*(topics-1)/(2*samples-1)))
	}
	return names
}

// interestNode is a node that wants many topics, and has no clients.
type interestNode struct {
	*nats.Broker
	topics   int
	connects uint64 // before a server was killed

	mu      sync.Mutex // guards what follows
	missing map[string]bool
	all     chan struct{} // closed when none is missing
}

// runInterestNode is such a node as a process.
func runInterestNode(_ context.Context, args []string) error {
	set := flag.NewFlagSet("interest-node", flag.ContinueOnError)
	urls, how, topics := set.String("urls", "", "servers"), set.String("interest", "", "way of interest"), set.Int("topics", 0, "how many")
	if err := parse(set, args); err != nil {
		return err
	}
	interest, err := way(*how)
	if err != nil {
		return err
	}
	n := &interestNode{topics: *topics}
	n.Broker = nats.New(nats.Options{URLs: strings.Split(*urls, ","), Prefix: "p", Interest: interest, Logger: warnings()})
	if err := n.Start(n); err != nil {
		return err
	}
	n.expect()
	fmt.Println("connected", n.Stats().Server)
	return obey(map[string]func() (string, error){"subscribe": n.subscribe, "expect": n.expect, "heard": n.heard, "again": n.again})
}

// Receive implements pubsub.Receiver.
func (n *interestNode) Receive(m pubsub.Message, _ pubsub.PublishOptions) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.missing[m.Topic] {
		if delete(n.missing, m.Topic); len(n.missing) == 0 {
			close(n.all)
		}
	}
	return 0, nil
}

// Missed implements pubsub.Receiver.
func (n *interestNode) Missed(string) {}

// subscribe wants all topics, and waits until its server knows.
func (n *interestNode) subscribe() (string, error) {
	for i := range n.topics {
		n.Interest(topicName(i), true)
	}
	err := n.ready()
	n.connects = n.Stats().Connects
	return "subscribed", err
}

// again waits until it has another server, which knows what is wanted.
func (n *interestNode) again() (string, error) {
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		stats := n.Stats()
		if stats.Connected && stats.Connects > n.connects {
			break
		}
		if time.Since(begin) > patience {
			return "", errors.New("no server any more")
		}
	}
	err := n.ready()
	return fmt.Sprintf("again %d", n.Stats().Connects-n.connects), err
}

// ready waits until the server knows all topics.
func (n *interestNode) ready() error {
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(time.Millisecond) {
		if stats := n.Stats(); stats.Connected && stats.Unready == 0 {
			return nil
		}
	}
	return fmt.Errorf("the server does not know %d topics", n.Stats().Unready)
}

// expect has messages to all of the sample be missing.
func (n *interestNode) expect() (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missing, n.all = map[string]bool{}, make(chan struct{})
	for from := range 2 {
		for _, name := range sample(n.topics, from) {
			n.missing[name] = true
		}
	}
	return "expecting", nil
}

// heard waits until none is missing.
func (n *interestNode) heard() (string, error) {
	n.mu.Lock()
	all := n.all
	n.mu.Unlock()
	select {
	case <-all:
		return "heard", nil
	case <-time.After(patience):
		n.mu.Lock()
		defer n.mu.Unlock()
		return "", fmt.Errorf("messages to %d topics do not come", len(n.missing))
	}
}
