// Package serve is the command "millrace serve": a WebSocket server to try, to
// measure and to put behind a balancer. [Main] is all of it.
//
// main.go is its life, from the flags to the end of the drain; flags.go lists what can
// be set, and each flags_*.go has one group of it; listen.go are addresses, pages.go,
// pages_try.go and pages_metrics.go what it answers, admin.go the operator's address.
package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/millrace/millrace/asynclog"
	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
)

// Main runs the command with its flags and gives its exit status: 0 after a
// graceful stop, 1 when it could not serve or was stopped at once, 2 for wrong
// flags. What it listens on goes to stdout; errors, in one line, and logs go to
// stderr. Either may lose its reader or stand full: lines are lost then, and counted,
// and all else goes on. SIGTERM, SIGINT and SIGHUP are the process's own
// while it runs, and SIGPIPE is ignored.
func Main(args []string, stdout, stderr io.Writer) (status int) {
	c := &config{}
	set := c.flagSet()
	if _, err := set.Read(args, os.Environ()); err != nil {
		return set.Refuse(err, patient{stdout}, patient{stderr})
	}
	signal.Ignore(syscall.SIGPIPE) // or a line to a pipe without a reader would end the process
	defer signal.Reset(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	queue := asynclog.New(c.log.handler(stderr))
	err := run(c, slog.New(queue), signals, hangups, stdout)
	ctx, cancel := context.WithTimeout(context.Background(), sayTime)
	defer cancel()
	_ = queue.Flush(ctx) // what is lost, is lost
	switch {
	case err == nil:
		return flags.Done
	case errors.As(err, new(misuseError)):
		return set.Refuse(err, patient{stdout}, patient{stderr})
	}
	return set.Fail(err, patient{stderr})
}

// sayTime is how long is waited for somebody to read stdout or stderr.
const sayTime = time.Second

// patient writes to stdout or stderr, which may be a full pipe that nobody reads: then
// its goroutine goes on waiting, for as long as the process lives.
type patient struct{ io.Writer }

// Write implements io.Writer. It says that all was written, whatever came of it.
func (p patient) Write(text []byte) (int, error) {
	said := make(chan struct{})
	text = bytes.Clone(text) // the caller's again when Write returns
	go func() {
		defer close(said)
		_, _ = p.Writer.Write(text) // who could be told?
	}()
	select {
	case <-said:
	case <-time.After(sayTime):
	}
	return len(text), nil
}

// run serves until a signal comes.
func run(c *config, log *slog.Logger, signals, hangups <-chan os.Signal, stdout io.Writer) error {
	srv, err := c.server()
	if err != nil {
		return err
	}
	srv.Logger = log
	metrics := metricsOf(srv)
	topics, err := c.topics.begin(srv, &c.nats, log)
	if err != nil {
		return err
	}
	defer topics.close()
	topics.register(metrics)
	route(srv, &c.http, c.log.accessLog(log), topics, c.admin.publicMetrics(metrics, log))
	admin, err := listenAdmin(&c.admin, log)
	if err != nil {
		return err
	}
	defer admin.close()
	boundMemory(log) // before the server looks at it
	addr, serve, err := c.open(srv)
	if err != nil {
		return listenError(c.values["listen"].Source, c.listen.address, err)
	}
	raiseDescriptorLimit(log)
	c.balancer.warn(log)
	c.limits.warn(log)
	served := make(chan error, 1)
	go func() { served <- serve() }()
	if err := awaitReady(srv, served); err != nil {
		return err
	}
	admin.serve(adminPages(srv, &c.admin, topics, metricsPage(metrics, log), log))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	files := c.tls.reloads(log)
	topics.addReloads(files, log)
	files.run(ctx, hangups, log)
	fmt.Fprintf(patient{stdout}, "listening on %s\n%s", urlOf(c.tls.scheme(), addr), admin.where())

	select {
	case err := <-served:
		return err
	case sig := <-signals:
		log.Info("stopping", "signal", sig.String(), "again", "in a second or later, to stop at once")
	}
	return stop(c.drain.drain(), srv, signals)
}

// awaitReady waits until srv accepts, or returns why it does not.
func awaitReady(srv *server.Server, served <-chan error) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !srv.Ready() {
		select {
		case err := <-served:
			return err
		case <-look.C:
		}
	}
	return nil
}

// sameSignal is how long a further signal is taken for the first once more: timeout(1),
// and a terminal's Ctrl-C under a supervisor, send it to the process and to its group.
const sameSignal = time.Second

// stop drains the server, which logs how that goes; what has not ended in time was
// cut, as configured. A signal after sameSignal ends it at once.
func stop(o server.DrainOptions, srv *server.Server, signals <-chan os.Signal) error {
	drained := make(chan error, 1)
	go func() { drained <- srv.Drain(context.Background(), o) }()
	began := time.Now()
	for {
		select {
		case err := <-drained:
			if errors.Is(err, context.DeadlineExceeded) {
				return nil
			}
			return err
		case sig := <-signals:
			if time.Since(began) >= sameSignal {
				return stopNow(srv, sig)
			}
		}
	}
}

func stopNow(srv *server.Server, sig os.Signal) error {
	_ = srv.Close() // always nil
	return fmt.Errorf("stopped at once by a second signal (%v)", sig)
}

// boundMemory has Go's heap stay within nine tenths of what the control group allows,
// unless GOMEMLIMIT says something else.
func boundMemory(log *slog.Logger) {
	before := debug.SetMemoryLimit(-1)
	limit, err := memlimit.Set()
	switch {
	case err != nil:
		log.Debug("memory limit of the control group not read", "err", err) // no Linux, or no group
	case limit != before:
		log.Info("memory limit set", "bytes", limit)
	}
}

// raiseDescriptorLimit makes room for as many connections as the system allows;
// less is worth a warning only.
func raiseDescriptorLimit(log *slog.Logger) {
	soft, hard, err := poller.RaiseDescriptorLimit()
	if err != nil {
		log.Warn("descriptor limit not raised", "limit", soft, "hard", hard, "err", err)
		return
	}
	log.Info("descriptor limit raised", "limit", soft, "hard", hard)
}

// listenError puts the usual reasons into plain words.
func listenError(option, address string, err error) error {
	if strings.HasPrefix(address, fdPrefix) {
		return fdError(option, address, err)
	}
	if network, _ := network(address); network == "unix" {
		return unixError(option, address, err)
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s: the port is taken by another process: stop it or choose another port", option, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s %s: no permission for this port: choose one from 1024 up, or grant CAP_NET_BIND_SERVICE", option, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s: this machine has no such address", option, address)
	case errors.As(err, &dns):
		return fmt.Errorf("%s %s: the host %q can't be resolved: %s", option, address, dns.Name, dns.Err)
	}
	return fmt.Errorf("%s %s: %w", option, address, err)
}
