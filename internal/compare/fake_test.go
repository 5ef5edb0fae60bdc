package compare_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/compare"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// The test binary is also the servers that are compared and, since a comparison
// starts its own program as the client, millbench. Their protocol is not
// WebSocket: the client sends a line and the server answers with its figures.

func TestMain(m *testing.M) {
	if len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-") {
		// The race detector would have each process take a second to exit.
		if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		compare.AloneOnHost()
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = fakeServer(os.Args[2], os.Args[3], os.Args[4:])
	case "compare":
		os.Exit(compare.Main(context.Background(), os.Args[2:], os.Stdout, os.Stderr))
	case "hold":
		if err = call(os.Args[2]); err == nil {
			fmt.Println("holding")
			select {}
		}
	default:
		err = fakeClient(os.Args[1], os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// fakeServer is a server that behaves as told.
func fakeServer(listen, behaviour string, args []string) error {
	switch behaviour {
	case "refuse": // ends before it listens
		fmt.Fprintln(os.Stderr, "looking for a device")
		return fmt.Errorf("no \x1b[31m<device>")
	case "deaf": // never listens
		select {}
	case "echo": // really does
		return (&server.Server{Addr: listen, Handler: echo{}}).ListenAndServe()
	case "deny": // answers, but is no WebSocket server
		return http.ListenAndServe(listen, http.NotFoundHandler())
	case "brood": // starts another process that holds on to its output
		if err := brood(args[2]); err != nil {
			return err
		}
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for asked := 1; ; asked++ {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			asked-- // it only looked whether we listen
			continue
		}
		switch {
		case behaviour == "die": // in the middle
			return fmt.Errorf("out of memory")
		case behaviour == "mute" && (len(args) < 2 || args[1] == fmt.Sprint(asked)): // tells the test that it was asked, or so often, and not who asks
			err = call(args[0])
		case behaviour == "wild": // each process is another, up to twice or half as fast: ports follow each other. 1000 tells times
			factor := math.Exp2(float64(ln.Addr().(*net.TCPAddr).Port%7)/3 - 1)
			_, err = fmt.Fprintf(c, "%v %v %d %s\n", 1001*factor, 4/factor, os.Getpid(), cpus())
		case behaviour == "mute":
			_, err = fmt.Fprintln(c, "1 1 1 -")
		default:
			_, err = fmt.Fprintf(c, "%s %s %d %s\n", args[0], args[1], os.Getpid(), cpus())
		}
		if err != nil {
			return err
		}
	}
}

// echo sends each message back.
type echo struct{}

func (echo) Open(*server.Conn)                    {}
func (echo) Message(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) } // Close tells
func (echo) Close(*server.Conn, error)            {}

// brood starts a process that calls the test.
func brood(address string) error {
	child := exec.Command(os.Args[0], "hold", address)
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err == nil {
		_, err = bufio.NewReader(stdout).ReadString('\n') // it has called
	}
	return err
}

// call makes a connection to the test, which lasts as long as this process; and
// if the test lets go of it, the process ends.
func call(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, c) // nothing comes but the end
		os.Exit(1)
	}()
	return nil
}

// cpus are those that this process may run on.
func cpus() string {
	status, _ := os.ReadFile("/proc/self/status") // elsewhere none are known
	_, list, _ := strings.Cut(string(status), "Cpus_allowed_list:\t")
	list, _, _ = strings.Cut(list, "\n")
	return "[" + list + "]"
}

// fakeClient is millbench as far as a comparison uses it. The path of the URL
// tells it to misbehave.
func fakeClient(scenario string, args []string) error {
	flags := flag.NewFlagSet(scenario, flag.ContinueOnError)
	for _, name := range []string{"connections", "size", "in-flight", "rate"} {
		flags.Int(name, 0, "")
	}
	warmup, duration := flags.Duration("warmup", 0, ""), flags.Duration("duration", 0, "")
	out := flags.String("json", "", "")
	slices, pid := flags.Bool("slices", false, ""), flags.Int("server-pid", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	u, err := url.Parse(flags.Arg(0))
	if err != nil {
		return err
	}
	if *slices && *pid > 0 && flags.NArg() == 1 {
		return fakeSlices(scenario, u)
	}
	if *warmup != 250*time.Millisecond || *duration != time.Second || *out != "-" || flags.NArg() != 1 {
		return fmt.Errorf("called with %q", args)
	}
	r, err := fakeResult(scenario, u)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// fakeSlices answers orders. That of warming up is the first.
func fakeSlices(scenario string, u *url.URL) error {
	if u.Path == "/silent" {
		return fmt.Errorf("can not make %s", scenario)
	}
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(load.Slice{Result: &result.Result{}}); err != nil {
		return err
	}
	orders := json.NewDecoder(os.Stdin)
	for n := 0; ; n++ {
		var o load.Order
		if err := orders.Decode(&o); err != nil {
			return nil
		}
		if want := (load.Order{Measure: 250 * time.Millisecond}); n == 0 && o != want || n > 0 && o.Settle == 0 {
			return fmt.Errorf("order %d is %+v", n, o)
		}
		r, err := fakeResult(scenario, u)
		if err != nil {
			return err
		}
		s := load.Slice{Result: r}
		switch {
		case u.Path == "/late":
			s.P99 = 100 * time.Millisecond
		case u.Path == "/latest":
			s.P99 = time.Minute
		case n > 0 && (u.Path == "/seldom" && n%4 == 1 || u.Path == "/mostly" && n%4 != 1):
			r.Count, r.PerSecond, r.Server = 0, 0, nil
		}
		if u.Path == "/kept" && n%2 == 0 {
			s.Taken = 0.5
		}
		if u.Path == "/taken" {
			s.Taken = 0.6
		}
		if err := answers.Encode(s); err != nil {
			return err
		}
	}
}

// fakeResult is what the server says, or what the path of the URL has gone wrong.
func fakeResult(scenario string, u *url.URL) (*result.Result, error) {
	r := &result.Result{
		Plan:    result.Plan{Scenario: scenario},
		Machine: result.Machine{CPU: "a fake", Cores: 2, System: "none", Go: "go0"},
		Count:   1,
	}
	switch u.Path {
	case "/silent":
		return nil, fmt.Errorf("can not make %s", scenario)
	case "/trouble":
		r.Troubles = []result.Trouble{{What: "connect to " + u.Host, Count: 7}}
	case "/lost":
		r.Lost = 2
	case "/nothing":
		r.Count = 0
	case "/slow":
		r.Client.Bottleneck = "it is slow"
	}
	if err := ask(u.Host, r); err != nil {
		return nil, err
	}
	if u.Path == "/cpus" {
		r.Client.Bottleneck = strings.Join(r.Notes, "") + cpus()
	}
	return r, nil
}

// ask fills in what the server says. Without an answer it waits for ever.
func ask(address string, r *result.Result) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, "well?\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		select {}
	}
	r.Server = &result.ServerUse{After: 1, PerConnection: 1}
	where := ""
	_, err = fmt.Sscan(answer, &r.PerSecond, &r.Server.CPU, &r.Server.PID, &where)
	r.Server.Cores = float64(r.Server.PID) // a figure, for the test to see
	r.Notes = []string{where}
	if r.PerSecond == 1000 || r.PerSecond == 9 { // the first server: only it tells times, so they have no ratios
		r.Latency = result.NewLatency()
		r.Latency.Record(time.Millisecond)
	}
	return err
}
