package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/process"
)

// patience is how long a process may take for an answer.
const patience = 3 * time.Minute

// child is a process that was started to be measured. It ends when its input does.
type child struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	lines  chan string // what it says
	used   *process.Process
}

// start starts a process, and waits for its first line, which begins so.
func start(ctx context.Context, begins string, command ...string) (c *child, said string, err error) {
	c = &child{cmd: exec.CommandContext(ctx, command[0], command[1:]...), lines: make(chan string)}
	c.cmd.Stderr = os.Stderr
	if c.orders, err = c.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, "", err
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
		close(c.lines)
	}()
	if said, err = c.hear(begins); err == nil {
		c.used, err = process.Open(c.cmd.Process.Pid)
	}
	if err != nil {
		c.end()
		return nil, "", err
	}
	return c, said, nil
}

// startSelf starts this program as a process.
func startSelf(ctx context.Context, begins string, args ...string) (*child, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	return start(ctx, begins, append([]string{self}, args...)...)
}

// ask gives an order, and waits for its answer, a line that begins so.
func (c *child) ask(order, begins string) (rest string, err error) {
	if _, err := fmt.Fprintln(c.orders, order); err != nil {
		return "", fmt.Errorf("%v: %w", c.cmd.Args, err)
	}
	return c.hear(begins)
}

func (c *child) hear(begins string) (rest string, err error) {
	select {
	case line := <-c.lines:
		if rest, ok := strings.CutPrefix(line, begins); ok {
			return strings.TrimSpace(rest), nil
		}
		return "", fmt.Errorf("%v said %q, want %q", c.cmd.Args, line, begins)
	case <-time.After(patience):
		return "", fmt.Errorf("%v does not say %q", c.cmd.Args, begins)
	}
}

// end kills it.
func (c *child) end() {
	_ = c.cmd.Process.Kill() // it may have ended
	for range c.lines {
	}
	_ = c.cmd.Wait() // the error is the signal
}

// use is what a process has used so far, and how large it has been.
type use struct {
	cpu       time.Duration
	rss, peak int64
}

func (c *child) use() (u use, err error) {
	usage, err := c.used.Usage()
	if err != nil {
		return use{}, err
	}
	u = use{cpu: usage.CPU, rss: usage.RSS}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if found := highest.FindSubmatch(status); err == nil && found != nil {
		kib, _ := strconv.ParseInt(string(found[1]), 10, 64) // they are digits
		u.peak = kib << 10
	}
	return u, err
}

var highest = regexp.MustCompile(`VmHWM:\s*(\d+) kB`)

// live is what a process of ours holds when it has collected its garbage and given back what is free.
func (c *child) live() (int64, error) {
	if _, err := c.ask("collect", "collected"); err != nil {
		return 0, err
	}
	u, err := c.use()
	return u.rss, err
}

// obey has a process of ours do what it is told, each order by its name, until there are no more.
func obey(orders map[string]func() (string, error)) error {
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		do, answer := orders[s.Text()], ""
		switch {
		case s.Text() == "collect":
			debug.FreeOSMemory()
			answer = "collected"
		case do == nil:
			return fmt.Errorf("no such order: %q", s.Text())
		default:
			var err error
			if answer, err = do(); err != nil {
				return err
			}
		}
		fmt.Println(answer)
	}
	return nil
}

// warnings is a logger for what should not happen, or only when it is meant to.
func warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
