package compare

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
	"unicode"
)

// pipeLimit is how long the output of a process may stay open after its end: by
// then only those that left its group can hold it.
const pipeLimit = time.Second

// process is a server or a client that was started.
type process struct {
	cmd    *exec.Cmd
	stderr tail
	ended  chan struct{} // closed at its end
	stops  sync.Once
	err    error // how it ended; valid once it has
}

// start starts a command; stdin nil: it has none; stdout nil: what it writes there
// counts as stderr. Whoever starts it stops it.
func start(argv []string, stdin *os.File, stdout io.Writer) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = stdout, &p.stderr
	if stdin != nil {
		p.cmd.Stdin = stdin
	}
	if stdout == nil {
		p.cmd.Stdout = &p.stderr
	}
	p.cmd.WaitDelay = pipeLimit
	inGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends it surely, with all it has started, and waits for that. Only the first call
// does: after it the process's number may be another's.
func (p *process) stop() {
	p.stops.Do(func() {
		killGroup(p.cmd)
		<-p.ended
	})
}

// fate tells how it ended, and what it said last.
func (p *process) fate() string {
	fate := "exit status 0"
	if p.err != nil {
		fate = p.err.Error()
	}
	if said := p.stderr.last(); said != "" {
		fate += ": " + said
	}
	return fate
}

// bound gives a context that ends with the process too.
func (p *process) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-p.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// endsWithin tells whether it has ended by itself, or does so now.
func (p *process) endsWithin(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// tail keeps the end of what is written to it.
type tail struct{ kept bytes.Buffer }

const (
	maxTail = 4 << 10
	maxLine = 300
)

func (t *tail) Write(p []byte) (int, error) {
	t.kept.Write(p)
	if over := t.kept.Len() - maxTail; over > 0 {
		t.kept.Next(over)
	}
	return len(p), nil
}

// last gives the last line that is not empty, harmless in a terminal and cut to a
// bearable length.
func (t *tail) last() string {
	text := strings.TrimSpace(t.kept.String())
	line := text[strings.LastIndexByte(text, '\n')+1:]
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, line[:min(len(line), maxLine)])
}
