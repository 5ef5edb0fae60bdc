package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// measureInterest measures what many topics of one node take: memory and CPU time of the node and of three servers, and how
// long it takes to subscribe to them, and again when the node's server was killed.
func measureInterest(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("interest", flag.ContinueOnError)
	numbers, rounds := set.String("topics", "100000,1000000", "how many, with commas"), set.Int("rounds", 3, "how often")
	if err := parse(set, args); err != nil {
		return err
	}
	for text := range strings.SplitSeq(*numbers, ",") {
		topics, err := strconv.Atoi(text)
		if err != nil || topics < 2*samples {
			return fmt.Errorf("--topics: %q, want at least %d", text, 2*samples)
		}
		all, err := interestAll(ctx, topics, *rounds, settled)
		if err != nil {
			return fmt.Errorf("%d topics: %w", topics, err)
		}
		table(grouped(int64(topics))+" topics", ways, all)
	}
	return nil
}

// interestAll measures each way of interest, in turns.
func interestAll(ctx context.Context, topics, rounds int, settled time.Duration) (all []*figures, err error) {
	for range ways {
		all = append(all, &figures{})
	}
	for range rounds {
		for i, name := range ways {
			r := &interestRun{f: all[i], topics: float64(topics), settled: settled}
			if err := r.round(ctx, name); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return all, nil
}

// interestRun is a node on three servers, in one round.
type interestRun struct {
	f       *figures
	topics  float64
	settled time.Duration // until nobody works any more
	node    *child
	own     *natsServer   // the node's
	others  []*natsServer // and the two others
	before  []use         // of the node, its server and the others
	started time.Time
}

func (r *interestRun) round(ctx context.Context, way string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	servers, err := startCluster(ctx)
	if err != nil {
		return err
	}
	defer endAll(servers)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.url)
	}
	var at string
	r.node, at, err = startSelf(ctx, "connected", "interest-node", "--urls", strings.Join(urls, ","), "--interest", way, "--topics", strconv.Itoa(int(r.topics)))
	if err != nil {
		return err
	}
	defer r.node.end()
	for _, s := range servers {
		if s.url == at {
			r.own = s
		} else {
			r.others = append(r.others, s)
		}
	}
	if r.own == nil {
		return fmt.Errorf("the node is at %s", at)
	}
	stop, err := r.publish(way)
	if err != nil {
		return err
	}
	defer stop()
	if err := r.subscribe(); err != nil {
		return err
	}
	return r.again()
}

// publish publishes to the sample from the two other servers, over and over.
func (r *interestRun) publish(how string) (stop func(), err error) {
	interest, err := way(how)
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	ended := make(chan struct{})
	stop = sync.OnceFunc(func() {
		close(ended)
		all.Wait()
	})
	for from, s := range r.others {
		b := nats.New(nats.Options{URLs: []string{s.url}, Prefix: "p", Interest: interest, Logger: warnings()})
		if err := b.Start(nobody{}); err != nil {
			stop()
			return nil, err
		}
		names := sample(int(r.topics), from)
		all.Go(func() {
			defer func() { _ = b.Close() }()
			for {
				for _, name := range names {
					_, _ = b.Publish(context.Background(), pubsub.Message{Topic: name, Payload: []byte("here")}, pubsub.PublishOptions{}) // or the next one comes
				}
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ended:
					return
				}
			}
		})
	}
	return stop, nil
}

// nobody is a receiver without subscribers.
type nobody struct{}

// Receive implements pubsub.Receiver.
func (nobody) Receive(pubsub.Message, pubsub.PublishOptions) (int, error) { return 0, nil }

// Missed implements pubsub.Receiver.
func (nobody) Missed(string) {}

// processes are the node, its server, if that lives, and the others.
func (r *interestRun) processes() (all []*child) {
	all = append(all, r.node)
	if r.own != nil {
		all = append(all, r.own.child)
	}
	for _, s := range r.others {
		all = append(all, s.child)
	}
	return all
}

func (r *interestRun) uses() (all []use, err error) {
	for _, c := range r.processes() {
		u, err := c.use()
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// lives is what the processes hold without garbage.
func (r *interestRun) lives() (all []int64, err error) {
	for _, c := range r.processes() {
		bytes, err := c.live()
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

// settled is how long what was begun may still be going on.
const settled = 500 * time.Millisecond

func (r *interestRun) subscribe() error {
	empty, err := r.lives()
	if err != nil {
		return err
	}
	if err := r.step("subscribe", "subscribed"); err != nil {
		return err
	}
	uses, err := r.spent("subscribe")
	if err != nil {
		return err
	}
	full, err := r.lives()
	if err != nil {
		return err
	}
	r.f.add("memory of the node, B a topic", float64(full[0]-empty[0])/r.topics)
	r.f.add("memory of its server", float64(full[1]-empty[1])/r.topics)
	r.f.add("memory of each other server", float64(full[2]-empty[2]+full[3]-empty[3])/2/r.topics)
	r.f.add("the node at its largest, MiB", float64(uses[0].peak)/(1<<20))
	r.f.add("its server at its largest, MiB", float64(uses[1].peak)/(1<<20))
	return nil
}

// again kills the node's server.
func (r *interestRun) again() (err error) {
	if _, err := r.node.ask("expect", "expecting"); err != nil {
		return err
	}
	r.own.end()
	r.own = nil
	if err := r.step("again", "again"); err != nil {
		return err
	}
	uses, err := r.spent("again")
	if err == nil {
		r.f.add("a surviving server at its largest, MiB", float64(max(uses[1].peak, uses[2].peak))/(1<<20))
	}
	return err
}

// step has the node do something, and tells how long it takes until its server knows all topics, and until messages come
// from the other servers.
func (r *interestRun) step(order, answer string) (err error) {
	if r.before, err = r.uses(); err != nil {
		return err
	}
	r.started = time.Now()
	if _, err := r.node.ask(order, answer); err != nil {
		return err
	}
	r.f.add(order+": until its server knows, ms", float64(time.Since(r.started).Milliseconds()))
	if _, err := r.node.ask("heard", "heard"); err != nil {
		return err
	}
	r.f.add(order+": until messages come from all servers, ms", float64(time.Since(r.started).Milliseconds()))
	return nil
}

// spent tells the CPU time of a step.
func (r *interestRun) spent(what string) ([]use, error) {
	time.Sleep(r.settled)
	uses, err := r.uses()
	if err != nil {
		return nil, err
	}
	var servers time.Duration
	for i := range uses[1:] {
		servers += uses[i+1].cpu - r.before[i+1].cpu
	}
	r.f.add(what+": CPU of the node, ms", float64((uses[0].cpu - r.before[0].cpu).Milliseconds()))
	r.f.add(what+": CPU of the servers together, ms", float64(servers.Milliseconds()))
	return uses, nil
}
