package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Limits of a run: a server that does not listen, or a load that does not end,
// is an error.
const (
	startLimit = 5 * time.Second
	loadLimit  = time.Minute // beyond the seconds that are measured
)

// bench runs rows with the programs in dir.
type bench struct {
	dir      string
	seconds  int
	progress io.Writer // gets a line a run
}

// measure runs all rows reps times. A repetition goes through all rows before
// the next begins, so that a row's runs are spread over the whole time.
func (b *bench) measure(rows []row, reps int) ([]result, error) {
	results := make([]result, len(rows))
	for rep := range reps {
		for i, r := range rows {
			results[i].row = r
			if r.base != nil {
				v, err := b.one(r, r.base, rep)
				if err != nil {
					return nil, err
				}
				results[i].baseFigures = append(results[i].baseFigures, v)
			}
			v, err := b.one(r, r.ours, rep)
			if err != nil {
				return nil, err
			}
			results[i].ourFigures = append(results[i].ourFigures, v)
		}
	}
	return results, nil
}

// one gives a row's figure of one run against a server of its own.
func (b *bench) one(r row, s *server, rep int) (float64, error) {
	f, err := b.load(s, r.load)
	if err != nil {
		return 0, fmt.Errorf("%s, %s: %w", r.name, s.name, err)
	}
	v := r.figure(f)
	if v <= 0 {
		return 0, fmt.Errorf("%s, %s: measured %v %s: run longer (-t)", r.name, s.name, v, r.what)
	}
	fmt.Fprintf(b.progress, "run %d: %s: %s %.5g %s\n", rep+1, r.name, s.name, v, r.what)
	return v, nil
}

// load starts a server on core 0, loads it from core 1 and ends it.
func (b *bench) load(s *server, load []string) (figures, error) {
	port, err := freePort()
	if err != nil {
		return figures{}, err
	}
	argv := []string{"-c", "0", filepath.Join(b.dir, s.program)}
	for _, a := range s.args {
		argv = append(argv, strings.Replace(a, "PORT", port, 1))
	}
	var log bytes.Buffer
	srv := exec.Command("taskset", argv...) // taskset executes it: the process is the server's
	srv.Stderr = &log
	if err := srv.Start(); err != nil {
		return figures{}, err
	}
	f, err := b.drive(port, srv.Process.Pid, load)
	_ = srv.Process.Kill() // when it has ended before, Wait and the load have told
	_ = srv.Wait()
	if err != nil && log.Len() > 0 {
		err = fmt.Errorf("%w\n%s", err, log.Bytes())
	}
	return f, err
}

// drive runs the load generator against the server at port with process id pid.
func (b *bench) drive(port string, pid int, load []string) (figures, error) {
	if err := listening(port); err != nil {
		return figures{}, err
	}
	limit := loadLimit + time.Duration(b.seconds)*time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	argv := append([]string{"-p", port, "-k", "1", "-P", strconv.Itoa(pid), "-t", strconv.Itoa(b.seconds)}, load...)
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "wsload"), argv...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return figures{}, fmt.Errorf("wsload: %w", err)
	}
	return parse(out)
}

// parse reads what wsload prints. Lost connections are an error: they would
// make the figures of fewer connections than the row says.
func parse(out []byte) (figures, error) {
	var f figures
	if err := json.Unmarshal(out, &f); err != nil {
		return figures{}, fmt.Errorf("wsload printed %q: %w", out, err)
	}
	if f.Failed+f.Closed > 0 || f.Opened == 0 {
		return figures{}, fmt.Errorf("%d connections opened, %d failed, %d closed", f.Opened, f.Failed, f.Closed)
	}
	return f, nil
}

// freePort gives a port that was free a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// listening waits until a server accepts at port.
func listening(port string) error {
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Since(start) > startLimit {
			return fmt.Errorf("does not listen after %v: %w", startLimit, err)
		}
	}
}
