package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// kinds are the nodes that are measured.
var kinds = []string{"millrace", "millrace, stream", "centrifuge"}

// broadcasting is what is asked for.
type broadcasting struct {
	receivers     int // of the herd; a tenth of them gets ten times as many messages too
	rounds        int
	size          int
	per, settled  time.Duration // of a load; until nobody works any more
	dir           string        // for what is built and stored
	onItsCore     []string      // begins the command of the node with the receivers
	awayFor, fast int           // messages that a herd lacks; publications under way
}

// measureBroadcast measures two nodes, with all publishers on the one and all receivers on the other, beside the centrifuge library.
func measureBroadcast(ctx context.Context, args []string) error {
	b := broadcasting{awayFor: 10, fast: 16, settled: settled}
	set := flag.NewFlagSet("broadcast", flag.ContinueOnError)
	set.IntVar(&b.receivers, "receivers", 10_000, "how many, and then a tenth of them")
	set.IntVar(&b.rounds, "rounds", 3, "how often")
	set.IntVar(&b.size, "size", 64, "bytes of a message, up to 125")
	set.DurationVar(&b.per, "for", 5*time.Second, "how long a load takes")
	if err := parse(set, args); err != nil {
		return err
	}
	if b.receivers < 10 || b.size < 16 || b.size > 125 {
		return errors.New("--receivers is 10 or more, --size 16 to 125")
	}
	if err := b.share(args); err != nil {
		return err
	}
	all, err := b.all(ctx)
	if err == nil {
		table(fmt.Sprintf("%d bytes", b.size), kinds, all)
	}
	return err
}

// all measures each kind of node, in turns.
func (b broadcasting) all(ctx context.Context) (all []*figures, err error) {
	if b.dir, err = os.MkdirTemp("", "measure"); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(b.dir) }() // in the system's temporary folder anyway
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	for range kinds {
		all = append(all, &figures{})
	}
	for range b.rounds {
		for i, kind := range kinds {
			r := &broadcastRun{broadcasting: b, kind: kind, f: all[i]}
			if err := r.round(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
		}
	}
	return all, nil
}

// share gives the node with the receivers the first core for itself, and all else the others: the program begins anew there.
func (b *broadcasting) share(args []string) error {
	taskset, err := exec.LookPath("taskset")
	const shared = "MILLRACE_MEASURE_SHARED"
	switch {
	case os.Getenv(shared) != "":
		b.onItsCore = []string{taskset, "-c", "0"}
		return nil
	case err != nil || runtime.NumCPU() < 2:
		fmt.Fprintln(os.Stderr, "note: without taskset and two cores the nodes share theirs with the load")
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cores := fmt.Sprintf("1-%d", runtime.NumCPU()-1)
	return syscall.Exec(taskset, append([]string{taskset, "-c", cores, self, "broadcast"}, args...), append(os.Environ(), shared+"=1"))
}

// build builds the server on centrifuge, which is another module's.
func (b *broadcasting) build(ctx context.Context) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/millrace/millrace").Output()
	if err != nil {
		return fmt.Errorf("go list, in the folder of this module: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.dir, "./centrifuge")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(root)), "bench", "peers")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// broadcastRun is two nodes of a kind, in one round.
type broadcastRun struct {
	broadcasting
	kind   string
	f      *figures
	server *natsServer
	from   *child // the node with the publisher
	to     *child // the node with the receivers
	crowd  *crowd
	*publisher
}

func (r *broadcastRun) round(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	store, err := os.MkdirTemp(r.dir, "store")
	if err != nil {
		return err
	}
	if r.server, err = startServer(ctx, "-js", "-sd", store); err != nil {
		return err
	}
	defer r.server.end()
	from, at, err := r.node(ctx, nil)
	if err != nil {
		return err
	}
	defer from.end()
	if r.publisher, err = startPublisher(ctx, "http://"+at, r.broadcasting.size); err != nil {
		return err
	}
	defer r.publisher.end()
	r.from, r.crowd = from, &crowd{}
	for _, part := range []func(context.Context) error{r.connectAll, r.herd, r.herdToNew, r.loads} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	r.crowd.leave(0)
	r.to.end()
	return nil
}

// node starts a node; what begins its command may be set.
func (r *broadcastRun) node(ctx context.Context, begin []string) (*child, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	command := []string{self, "broadcast-node"}
	switch r.kind {
	case "centrifuge":
		command = []string{filepath.Join(r.dir, "centrifuge"), "--broadcast"}
	case "millrace, stream":
		command = append(command, "--stream")
	}
	command = append(append(begin[:len(begin):len(begin)], command...), "--listen", "127.0.0.1:0", "--nats", r.server.url)
	return start(ctx, "listening on", command...)
}

// receiving starts the node with the receivers.
func (r *broadcastRun) receiving(ctx context.Context) (err error) {
	var at string
	r.to, at, err = r.node(ctx, r.onItsCore)
	r.crowd.url = "http://" + at
	return err
}

func (r *broadcastRun) connectAll(ctx context.Context) error {
	if err := r.receiving(ctx); err != nil {
		return err
	}
	if err := r.crowd.gather(ctx, 1); err != nil {
		return err
	}
	time.Sleep(r.settled)
	before, err := r.to.use()
	if err != nil {
		return err
	}
	if err := r.crowd.gather(ctx, r.receivers); err != nil {
		return err
	}
	time.Sleep(2 * r.settled)
	after, err := r.to.use()
	r.f.add("memory of a receiver, B", float64(after.rss-before.rss)/float64(r.receivers-1))
	return err
}

// herd has all but one client be away for some messages, and come back at once.
func (r *broadcastRun) herd(ctx context.Context) error {
	r.crowd.leave(1)
	time.Sleep(r.settled) // until the node knows
	came := r.crowd.came.Load()
	for range r.awayFor {
		if err := r.publish(); err != nil {
			return err
		}
	}
	if err := r.crowd.wait(ctx, came+int64(r.awayFor)); err != nil {
		return err
	}
	if err := r.comeBack(ctx, "herd"); err != nil {
		return err
	}
	r.crowd.clients[0].position = r.crowd.clients[1].position // it has been there all the time
	return nil
}

// herdToNew has the node with the receivers be killed, and the clients come to another one.
func (r *broadcastRun) herdToNew(ctx context.Context) error {
	r.crowd.leave(0)
	r.to.end()
	for range r.awayFor {
		if err := r.publish(); err != nil {
			return err
		}
	}
	if err := r.receiving(ctx); err != nil {
		return err
	}
	time.Sleep(r.settled)
	return r.comeBack(ctx, "herd to a new node")
}

func (r *broadcastRun) comeBack(ctx context.Context, what string) error {
	before, err := r.to.use()
	if err != nil {
		return err
	}
	came, began := r.crowd.came.Load(), time.Now()
	if err := r.crowd.gather(ctx, r.receivers); err != nil {
		return err
	}
	recovered := r.crowd.recovered.Load()
	if err := r.crowd.wait(ctx, came+recovered*int64(r.awayFor)); err != nil {
		return err
	}
	r.f.add(what+": time until all are back, ms", float64(time.Since(began).Milliseconds()))
	time.Sleep(r.settled)
	after, err := r.to.use()
	r.f.add(what+": CPU of the node, ms", float64((after.cpu - before.cpu).Milliseconds()))
	r.f.add(what+": clients that lack nothing", float64(recovered))
	return err
}

// loads are broadcasts to all receivers, and to a tenth of them.
func (r *broadcastRun) loads(ctx context.Context) error {
	for _, load := range []struct{ receivers, rate int }{{r.receivers, 10}, {r.receivers / 10, 100}} {
		r.crowd.leave(load.receivers)
		r.crowd.clients = r.crowd.clients[:load.receivers]
		time.Sleep(r.settled)
		if err := r.load(ctx, load.rate); err != nil {
			return err
		}
		if err := r.load(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// load publishes at a rate, or, if it is 0, as fast as the receivers get it.
func (r *broadcastRun) load(ctx context.Context, rate int) error {
	receivers := len(r.crowd.clients)
	what := grouped(int64(receivers)) + " receivers, as fast as it goes: "
	if rate > 0 {
		what = fmt.Sprintf("%s receivers, %s/s: ", grouped(int64(receivers)), strconv.Itoa(rate))
	}
	var before, after [3]use
	if err := r.read(&before); err != nil {
		return err
	}
	came, began, sent := r.crowd.came.Load(), time.Now(), 0
	for ; time.Since(began) < r.per; sent++ {
		if rate > 0 {
			time.Sleep(time.Until(began.Add(time.Duration(sent) * time.Second / time.Duration(rate))))
		} else if err := r.crowd.wait(ctx, came+int64(sent-r.fast)*int64(receivers)); err != nil {
			return err
		}
		if err := r.publish(); err != nil {
			return err
		}
	}
	deliveries := sent * receivers
	if err := r.crowd.wait(ctx, came+int64(deliveries)); err != nil {
		return err
	}
	passed := time.Since(began)
	if err := r.read(&after); err != nil {
		return err
	}
	cpu := func(i int) time.Duration { return after[i].cpu - before[i].cpu }
	if rate == 0 {
		r.f.add(what+"deliveries a second", float64(deliveries)/passed.Seconds())
		r.f.add(what+"deliveries a second of the node's CPU", float64(deliveries)/cpu(0).Seconds())
		return nil
	}
	r.f.add(what+"CPU of the receivers' node, us a delivery", cpu(0).Seconds()*1e6/float64(deliveries))
	r.f.add(what+"CPU of the publisher's node, us a message", cpu(1).Seconds()*1e6/float64(sent))
	r.f.add(what+"CPU of nats-server, us a message", cpu(2).Seconds()*1e6/float64(sent))
	return nil
}

// read reads what the receivers' node, the publisher's and the server have used.
func (r *broadcastRun) read(uses *[3]use) (err error) {
	for i, c := range []*child{r.to, r.from, r.server.child} {
		if uses[i], err = c.use(); err != nil {
			return err
		}
	}
	return nil
}
