package poller_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/pollertest"
	"golang.org/x/sys/unix"
)

// makeBusy has a poller count so many rounds in a short time that it is busy.
func makeBusy(t *testing.T, p poller.Poller) {
	t.Helper()
	for range 200 {
		wait(t, p, 0)
	}
}

func wait(t *testing.T, p poller.Poller, timeout time.Duration) {
	t.Helper()
	if _, err := p.Wait(make([]poller.Event, 4), timeout); err != nil {
		t.Fatal(err)
	}
}

// busyEngine is an engine, with all that epoll's can do, whose pollers are busy when they
// are new.
type busyEngine struct {
	epollEngine
	t *testing.T
}

type epollEngine interface {
	poller.Engine
	poller.UnixEngine
	poller.Dialer
	poller.Adopter
	poller.Meter
	poller.Gauge
	poller.Namer
}

func (e busyEngine) NewPoller() (poller.Poller, error) {
	p, err := e.epollEngine.NewPoller()
	if err == nil {
		makeBusy(e.t, p)
	}
	return p, err
}

// TestContractWhenBusy: what TestContract tests of pollers that park holds for those that
// block.
func TestContractWhenBusy(t *testing.T) {
	pollertest.Run(t, pollertest.Config{
		New:  func(t *testing.T) poller.Engine { return busyEngine{newEngine(t, "epoll").(epollEngine), t} },
		Dial: dial,
	})
}

// watched counts the epoll descriptors that are watched by an epoll descriptor: Go's own.
func watched(t *testing.T) (n int) {
	t.Helper()
	isEpoll := func(fd string) bool {
		link, _ := os.Readlink("/proc/self/fd/" + fd) // it may be gone
		return link == "anon_inode:[eventpoll]"
	}
	for fd := range openDescriptors(t) {
		if !isEpoll(strconv.Itoa(fd)) {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(info)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "tfd:" && isEpoll(f[1]) {
				n++
			}
		}
	}
	return n
}

// TestParking: Go's own poller watches a calm poller from its first wait on, and no busy
// one. There are as many descriptors in any case.
func TestParking(t *testing.T) {
	before := openDescriptors(t)
	p, err := newEngine(t, "epoll").NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	descriptors := len(openDescriptors(t))
	check := func(when string, want int) {
		t.Helper()
		if n := watched(t); n != want {
			t.Errorf("%s: %d pollers are watched, want %d", when, n, want)
		}
		if n := len(openDescriptors(t)); n != descriptors {
			t.Errorf("%s: %d descriptors, it began with %d", when, n, descriptors)
		}
	}
	wait(t, p, 0)
	check("after a look", 0)
	for range 2 {
		wait(t, p, time.Millisecond)
		check("calm", 1)
		for tries := 0; watched(t) > 0 && tries < 100; tries++ { // a busy machine may be too slow for it
			makeBusy(t, p)
		}
		wait(t, p, time.Millisecond)
		check("busy", 0)
		for range 130 { // slower than the least that keeps it busy
			wait(t, p, time.Millisecond)
		}
	}
	wait(t, p, time.Millisecond)
	check("calm again", 1)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(openDescriptors(t)); n != len(before) {
		t.Errorf("%d descriptors when it was closed, want %d", n, len(before))
	}
}

// TestParkingAllocatesNothing, with a timeout or without.
func TestParkingAllocatesNothing(t *testing.T) {
	p, err := newEngine(t, "epoll").NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	events := make([]poller.Event, 4)
	for _, timeout := range []time.Duration{-1, time.Millisecond, time.Hour} {
		allocated := testing.AllocsPerRun(20, func() {
			if timeout != time.Millisecond {
				p.Wake()
			}
			if _, err := p.Wait(events, timeout); err != nil {
				t.Fatal(err)
			}
		})
		if allocated > 0 {
			t.Errorf("a wait of %v allocates %v times", timeout, allocated)
		}
	}
}

// parkingChild marks, in the environment, the process of TestParkingExhausted.
const parkingChild = "MILLRACE_TEST_PARKING"

// TestParkingExhausted: a poller goes on parking if there is no further descriptor.
func TestParkingExhausted(t *testing.T) {
	if os.Getenv(parkingChild) == "" { // a process of its own: no other test may meet the lowered limit
		child := exec.Command(os.Args[0], "-test.run=^TestParkingExhausted$", "-test.v")
		child.Env = append(os.Environ(), parkingChild+"=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	p, err := newEngine(t, "epoll").NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	wait(t, p, time.Millisecond)
	hoard := useUpDescriptors(t)
	for range 20 {
		makeBusy(t, p)
		wait(t, p, time.Millisecond)
		p.Wake()
		wait(t, p, -1)
	}
	for _, fd := range hoard {
		unix.Close(fd)
	}
	if n := watched(t); n != 1 {
		t.Errorf("%d pollers are watched, want 1", n)
	}
	for tries := 0; watched(t) > 0 && tries < 100; tries++ {
		makeBusy(t, p)
	}
	if n := watched(t); n != 0 {
		t.Errorf("%d pollers are watched when it is busy, want none", n)
	}
}
