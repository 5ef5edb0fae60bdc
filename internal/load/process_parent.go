package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// children are the processes that share the load, as their parent sees them.
type children struct {
	ctx   context.Context // ends when they are to stop
	stop  context.CancelFunc
	grace time.Duration // then
	all   []*child

	publication *publication // of the run; nil: it is no broadcast
}

// child is a child process.
type child struct {
	grace      time.Duration
	kill       context.CancelFunc
	publishers int // of its connections

	sending  sync.Mutex
	commands *json.Encoder
	input    io.Closer // of the commands

	reached  chan barrier // by it; closed when its reports end
	ahead    *barrier     // that it has reached before its parent
	open     int          // connections, at the last barrier
	noneOpen atomic.Bool  // since then
	moments  chan moment  // the answers to command.Sample
	seen     seen         // of the last one
	orphaned int          // publishers, then

	ending  sync.Once     // sets why
	gone    chan struct{} // closed when it has ended; then there is:
	why     string        // it ended otherwise than it should; "": it did not
	outcome *outcome      // nil: it did not get that far
}

// startChildren starts the processes and gives each its share. They begin when
// the first barrier is reached.
func (r *run) startChildren(ctx context.Context) error {
	if os.Getenv(childVariable) != "" {
		return errors.New("bench: this is a child process, but main did not call RunChild")
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench: start a child process: %w", err)
	}
	f := &r.children
	r.group, f.publication = f, r.publication
	f.ctx, f.stop = context.WithCancel(ctx)
	f.grace = 2*time.Second + time.Duration(r.plan.Processes)*50*time.Millisecond // they share the cores
	for range r.plan.Processes {
		c, err := startChild(program, f.grace)
		if err != nil {
			return fmt.Errorf("bench: start a child process: %w", err)
		}
		f.all = append(f.all, c)
	}
	context.AfterFunc(f.ctx, f.stopAll)
	for i, c := range f.all {
		first, connections := r.plan.shareOf(i)
		c.publishers = max(0, min(r.plan.Publishers-first, connections))
		c.send(command{Begin: &share{Plan: r.plan.Plan, Index: i, Address: r.target.address}})
	}
	return nil
}

func startChild(program string, grace time.Duration) (*child, error) {
	ctx, kill := context.WithCancel(context.Background())
	c := &child{
		grace: grace, kill: kill,
		reached: make(chan barrier, 16), moments: make(chan moment, 1), gone: make(chan struct{}),
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	complaint := &firstLine{}
	cmd.Stderr = complaint
	cmd.WaitDelay = time.Second // others may have its output open
	dieWithParent(cmd)
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		kill()
		return nil, err
	}
	c.commands, c.input = json.NewEncoder(in), in
	context.AfterFunc(ctx, func() { _ = out.Close() }) // ends receive
	started := make(chan error)
	go c.live(cmd, out, complaint, started)
	return c, <-started
}

// live is a child from its start to its end.
func (c *child) live(cmd *exec.Cmd, out io.Reader, complaint *firstLine, started chan<- error) {
	runtime.LockOSThread() // the child ends with the thread: see dieWithParent
	defer runtime.UnlockOSThread()
	defer close(c.gone)
	defer c.kill()
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	if err := c.receive(out); err != nil {
		c.end(fmt.Sprintf("it says what makes no sense: %v", err))
	}
	late := time.AfterFunc(c.grace, func() { c.end("it said no more, but did not exit") })
	err = cmd.Wait()
	late.Stop()
	c.ending.Do(func() {
		if c.outcome == nil || err != nil {
			c.why = howEnded(err, complaint.String())
		}
	})
}

func howEnded(err error, complaint string) string {
	why := "exit status 0"
	if err != nil {
		why = err.Error()
	}
	if complaint != "" {
		why += ": " + complaint
	}
	return why
}

// end kills a child, if it lives.
func (c *child) end(why string) {
	c.ending.Do(func() { c.why = why })
	c.kill()
}

// receive takes a child's reports until the last.
func (c *child) receive(out io.Reader) error {
	defer close(c.reached)
	for in := json.NewDecoder(out); ; {
		var got report
		err := in.Decode(&got)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case got.End != nil:
			c.outcome = got.End
			return nil
		case got.NoneOpen:
			c.noneOpen.Store(true)
		case got.Reached != nil && len(c.reached) < cap(c.reached):
			c.reached <- *got.Reached
		case got.Sample != nil && len(c.moments) < cap(c.moments):
			c.moments <- *got.Sample
		default:
			return errors.New("it is not its turn")
		}
	}
}

// send sends a command. Whether it arrives shows later.
func (c *child) send(sent command) {
	c.sending.Lock()
	defer c.sending.Unlock()
	_ = c.commands.Encode(sent)
}

func (f *children) await(b barrier) barrier {
	b.Open = 0
	for _, c := range f.all {
		one, ok := c.await(b.At, f.ctx)
		c.open = 0
		c.noneOpen.Store(false)
		if ok {
			c.open = one.Open
			b.add(one)
		}
	}
	for _, c := range f.all {
		c.send(command{Reached: &b})
	}
	return b
}

// await waits until a child has reached a barrier. false says that it will not. In
// a run that goes on that is so because it has ended. In one that was stopped it
// may also have left out what came before where it is now.
func (c *child) await(at string, ctx context.Context) (barrier, bool) {
	if c.ahead == nil {
		b, ok := <-c.reached
		if !ok {
			return b, false
		}
		c.ahead = &b
	}
	b := *c.ahead
	if b.At != at {
		if ctx.Err() == nil {
			c.end(fmt.Sprintf("it is at %q, and its parent at %q", b.At, at))
		}
		return b, false
	}
	c.ahead = nil
	return b, true
}

// noneOpen ends the run: none of them has a connection open.
func (f *children) noneOpen() bool {
	f.stop()
	return true
}

// open is how many connections were open at the last barrier, those of children
// that have none left or have ended aside.
func (f *children) open() (n int) {
	for _, c := range f.all {
		if !c.ended() && !c.noneOpen.Load() {
			n += c.open
		}
	}
	return n
}

func (c *child) ended() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// gather adds what all did since the last time. What a child that has ended did
// then is not known.
func (f *children) gather(ctx context.Context, s *result.Sample, times *tally, is *seen) {
	for _, c := range f.all {
		c.send(command{Sample: true})
	}
	for _, c := range f.all {
		select {
		case m := <-c.moments:
			f.take(c, m, s, times)
		case <-c.gone:
			if m, ok := c.lastMoment(); ok {
				f.take(c, m, s, times)
			}
			c.seen.Opening, c.orphaned = 0, c.publishers
		case <-ctx.Done():
			return
		}
	}
	orphaned := 0
	for _, c := range f.all {
		is.add(c.seen) // of one that has ended, what it did by then
		orphaned += c.orphaned
	}
	if len(f.all) > 0 {
		f.publication.hearOrphans(orphaned)
	}
}

// take adds a child's moment.
func (f *children) take(c *child, m moment, s *result.Sample, times *tally) {
	s.Connections += m.Connections
	s.Count += m.Count
	times.addSparse(m.Times)
	c.seen, c.orphaned = m.Seen, m.Orphaned
	f.publication.hear(m.Settled)
}

// lastMoment gives what a child that is gone said before, if nobody has heard it.
func (c *child) lastMoment() (moment, bool) {
	select {
	case m := <-c.moments:
		return m, true
	default:
		return moment{}, false
	}
}

// stopAll has all stop, and ends those that do not.
func (f *children) stopAll() {
	for _, c := range f.all {
		if !c.ended() {
			_ = c.input.Close() // even if that fails, nothing more is sent
			time.AfterFunc(f.grace, func() { c.end("it did not stop when told to") })
		}
	}
}

// awaitChildren waits for all to end, at once if the scenario failed, and counts
// those that ended otherwise than they should.
func (r *run) awaitChildren(finished bool) {
	if !finished && r.group != nil {
		r.children.stop()
	}
	for _, c := range r.children.all {
		<-c.gone
		if m, ok := c.lastMoment(); ok { // of a sample that was not finished
			r.publication.hear(m.Settled)
		}
		if c.why != "" {
			r.trouble("a child process ended: %s", c.why)
		}
	}
}

// outcomes are those of the children that finished.
func (f *children) outcomes() (all []*outcome) {
	for _, c := range f.all {
		if c.outcome != nil {
			all = append(all, c.outcome)
		}
	}
	return all
}

// kill ends all, and waits until they have.
func (f *children) kill() {
	for _, c := range f.all {
		c.kill()
		<-c.gone
	}
}

// firstLine keeps the first line that is written to it, which says what is wrong
// if a program fails or panics. It belongs to one goroutine.
type firstLine struct{ text []byte }

func (f *firstLine) Write(b []byte) (int, error) {
	const longest = 200
	f.text = append(f.text, b[:min(len(b), longest-len(f.text))]...)
	return len(b), nil
}

func (f *firstLine) String() string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(f.text), []byte("\n"))
	return string(line)
}
