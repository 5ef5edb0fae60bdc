package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

// Of a terminal (ECMA-48, and DEC's private modes): back to the line's begin and
// erase it; a line too long for the terminal is cut (mode 7 off), so that it
// stays one line and needs nobody to know the width.
const (
	eraseLine = "\r\x1b[2K"
	cutLine   = "\x1b[?7l"
	wrapLine  = "\x1b[?7h"
)

// IsTerminal tells whether lines can be rewritten in a file: it is a character
// device, and TERM names a terminal that knows how. /dev/null is such a device
// too, where it does no harm, so this needs no terminal library.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	term := os.Getenv("TERM")
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && term != "" && term != "dumb"
}

// progress shows a run while it lasts: in a terminal one line that is rewritten,
// else a line a second. Its methods may be called from any goroutine.
type progress struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	phase string
	state string // as the last sample says
}

// watch is what bench.Run tells of a run.
func (p *progress) watch() bench.Watch {
	return bench.Watch{Sample: p.sample, Phase: p.enter}
}

// enter begins a phase. In a file, the next line tells it.
func (p *progress) enter(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = phase
	if p.terminal {
		p.show()
	}
}

func (p *progress) sample(s result.Sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = describe(s)
	p.show()
}

func (p *progress) show() {
	line := strings.TrimSpace(p.phase + " " + p.state)
	if p.terminal {
		fmt.Fprint(p.w, eraseLine, cutLine, line, wrapLine)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// say writes a line that stays.
func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.w, line)
}

// end leaves an empty line to go on with.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *progress) erase() {
	if p.terminal {
		fmt.Fprint(p.w, eraseLine)
	}
}

// describe is a sample in words, few enough for a terminal of 80 columns. What is not
// known is left out.
func describe(s result.Sample) string {
	parts := []string{fmt.Sprintf("%.0fs", s.At+s.Seconds), brief(float64(s.Connections), "") + " open"}
	if s.Count > 0 && s.Seconds > 0 {
		parts = append(parts, brief(float64(s.Count)/s.Seconds, "1/s"), "p50 "+brief(s.P50, "us"), "p99 "+brief(s.P99, "us"))
	}
	if s.ServerCores > 0 {
		parts = append(parts, "cores "+brief(s.ServerCores, ""))
	}
	if s.RSS > 0 {
		parts = append(parts, "rss "+brief(float64(s.RSS), "B"))
	}
	return strings.Join(parts, ", ")
}

func brief(value float64, unit string) string {
	return strings.ReplaceAll(report.Format(value, unit), " ", "")
}
