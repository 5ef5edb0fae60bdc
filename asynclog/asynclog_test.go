package asynclog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/asynclog"
)

// book is a slog.Handler that keeps each record's message, and, of a warning of
// drops, what it says.
type book struct {
	before func(r slog.Record) error // is called first; nil: nothing is
	mu     sync.Mutex
	lines  []string
}

func (b *book) Enabled(context.Context, slog.Level) bool { return true }
func (b *book) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *book) WithGroup(string) slog.Handler            { return b }

func (b *book) Handle(_ context.Context, r slog.Record) error {
	if b.before != nil {
		if err := b.before(r); err != nil {
			return err
		}
	}
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	return nil
}

// expect compares all that was written.
func (b *book) expect(t *testing.T, want ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.lines, want) {
		t.Errorf("%d lines %.300q\nwant %d %.300q", len(b.lines), b.lines, len(want), want)
	}
}

// numbered are n lines with a number each.
func numbered(text string, n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprint(text, i))
	}
	return lines
}

func flush(t *testing.T, h *asynclog.Handler) {
	t.Helper()
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestHandler is slog's own suite: attributes, groups, levels, times.
func TestHandler(t *testing.T) {
	var text bytes.Buffer
	h := asynclog.New(slog.NewJSONHandler(&text, nil))
	err := slogtest.TestHandler(h, func() (records []map[string]any) {
		flush(t, h)
		for line := range bytes.Lines(text.Bytes()) {
			var record map[string]any
			if err := json.Unmarshal(line, &record); err != nil {
				t.Fatal(err)
			}
			records = append(records, record)
		}
		return records
	})
	if err != nil {
		t.Error(err)
	}
}

// TestShared: what With and WithGroup give shares the queue, and so the order.
func TestShared(t *testing.T) {
	var text bytes.Buffer
	h := asynclog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	log := slog.New(h)
	one, two := log.With("who", "one"), log.WithGroup("two").With("n", 2)
	for range 2 {
		one.Info("first")
		two.Info("second", "m", 3)
	}
	flush(t, h)
	if want := strings.Repeat("msg=first who=one\nmsg=second two.n=2 two.m=3\n", 2); text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
}

// TestRecordsKeepTheirOrder: each goroutine's records keep their order, and none is lost while the
// handler keeps up.
func TestRecordsKeepTheirOrder(t *testing.T) {
	b := &book{}
	h := asynclog.New(b)
	var all sync.WaitGroup
	const each = 2000
	for who := range 4 {
		all.Go(func() {
			log := slog.New(h)
			for i := range each {
				log.Info(fmt.Sprint(who, " ", i))
				if i%100 == 0 {
					flush(t, h)
				}
			}
		})
	}
	all.Wait()
	flush(t, h)
	var next [4]int
	for _, line := range b.lines {
		var who, i int
		if _, err := fmt.Sscan(line, &who, &i); err != nil || next[who] != i {
			t.Fatalf("%q, want %d of %d", line, next[who], who)
		}
		next[who]++
	}
	if next != [4]int{each, each, each, each} || h.Dropped() != 0 {
		t.Errorf("%v lines, %d dropped", next, h.Dropped())
	}
}

// TestStuck: a handler that does not return holds up nobody. What does not fit is
// counted, and told in its place when the handler goes on; a flood of other records
// leaves room for warnings.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := &book{before: func(slog.Record) error { <-release; return nil }}
		h := asynclog.New(b)
		log := slog.New(h)
		log.Info("held")
		synctest.Wait()
		for _, line := range numbered("i", asynclog.Capacity+10) {
			log.Info(line)
		}
		for _, line := range numbered("w", asynclog.Reserve+5) {
			log.Warn(line)
		}
		if h.Dropped() != 15 {
			t.Errorf("%d dropped, want 15", h.Dropped())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush: %v", err)
		}
		if err := h.Flush(t.Context()); err == nil { // or it would wait for ever
			t.Error("a second Flush has flushed")
		}
		cancel()
		if err := h.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush with a context that is done: %v", err)
		}
		close(release)
		synctest.Wait()
		want := append([]string{"held"}, numbered("i", asynclog.Capacity)...)
		want = append(append(want, "log records dropped records=10"), numbered("w", asynclog.Reserve)...)
		b.expect(t, append(want, "log records dropped records=5")...)
		flush(t, h)
		log.Info("and on")
		flush(t, h)
		b.expect(t, append(want, "log records dropped records=5", "and on")...)
	})
}

// TestSlow: a Flush that gave up on a handler that is slow waits again once it has
// returned, and all comes out.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{before: func(slog.Record) error { time.Sleep(time.Minute); return nil }}
		h := asynclog.New(b)
		for _, line := range numbered("", 5) {
			slog.New(h).Info(line)
		}
		for _, wait := range []time.Duration{time.Millisecond, 2 * time.Millisecond, time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			before := time.Now()
			if err := h.Flush(ctx); err == nil || time.Since(before) != wait {
				t.Errorf("%v after %v, want %v", err, time.Since(before), wait)
			}
		}
		time.Sleep(time.Minute)
		flush(t, h)
		b.expect(t, numbered("", 5)...)
	})
}

// failures are the ways in which a handler may fail, and how that is told.
var failures = map[string]func() error{
	"broken pipe":                           func() error { return errors.New("broken pipe") },
	"the log's handler panicked: oh":        func() error { panic("oh") },
	"the log's handler ended its goroutine": func() error { runtime.Goexit(); return nil },
}

// TestFailing: a handler that fails loses the record it fails for, which is told
// once it takes another.
func TestFailing(t *testing.T) {
	for why, fail := range failures {
		t.Run(why, func(t *testing.T) {
			b := &book{}
			b.before = func(r slog.Record) error {
				if r.Message == "bad" {
					return fail()
				}
				return nil
			}
			h := asynclog.New(b)
			for _, line := range []string{"good", "bad", "bad", "good", "good", "bad"} {
				slog.New(h).Info(line)
			}
			flush(t, h)
			b.expect(t, "good", "good", fmt.Sprintf("log records dropped records=2 err=%s", why), "good")
			if h.Dropped() != 3 {
				t.Errorf("%d dropped, want 3", h.Dropped())
			}
			slog.New(h).Info("good")
			flush(t, h)
			if last := b.lines[len(b.lines)-1]; !strings.HasPrefix(last, "log records dropped records=1") {
				t.Errorf("in the end %q", last)
			}
		})
	}
}

// TestBroken: a handler that always fails is asked once a record and no more, and
// its goroutine ends.
func TestBroken(t *testing.T) {
	for why, fail := range failures {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which waits for all goroutines
				calls := 0
				h := asynclog.New(&book{before: func(slog.Record) error { calls++; return fail() }})
				for range 100 {
					slog.New(h).Error("no")
				}
				flush(t, h)
				if calls != 100 || h.Dropped() != 100 {
					t.Errorf("%d calls, %d dropped, want 100 of both", calls, h.Dropped())
				}
			})
		})
	}
}

// TestFailingWarning: if the handler fails for the very warning, that is told later
// with what has come on top.
func TestFailingWarning(t *testing.T) {
	b, warnings := &book{}, 0
	b.before = func(r slog.Record) error {
		if r.Message == "bad" {
			return errors.New("as asked")
		}
		if r.Level == slog.LevelWarn {
			if warnings++; warnings == 1 {
				return errors.New("too soon")
			}
		}
		return nil
	}
	h := asynclog.New(b)
	for _, line := range []string{"bad", "good", "bad", "good"} {
		slog.New(h).Info(line)
	}
	flush(t, h)
	b.expect(t, "good", "good", "log records dropped records=2 err=as asked")
	if h.Dropped() != 2 {
		t.Errorf("%d dropped, want 2", h.Dropped())
	}
}

// picky is a handler whose Enabled is a function.
type picky struct {
	*book
	enabled func(slog.Level) bool
}

func (p picky) Enabled(_ context.Context, level slog.Level) bool { return p.enabled(level) }

// TestEnabled: it is the inner handler's, also for the warning of drops; one that
// panics loses the record.
func TestEnabled(t *testing.T) {
	b := &book{}
	h := asynclog.New(picky{b, func(level slog.Level) bool {
		if level == slog.LevelError {
			panic("not yet")
		}
		return level != slog.LevelWarn
	}})
	log := slog.New(h)
	log.Error("lost")
	log.Warn("not enabled")
	log.Info("good")
	flush(t, h)
	b.expect(t, "good")
	if h.Dropped() != 1 {
		t.Errorf("%d dropped, want 1", h.Dropped())
	}
}

// TestContext: the handler sees the values of the context, and not its end.
func TestContext(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	seen := make(chan error, 1)
	h := asynclog.New(contextual{func(ctx context.Context) {
		if ctx.Value(key{}) != "v" {
			t.Error("the value is lost")
		}
		seen <- ctx.Err()
	}})
	cancel()
	slog.New(h).InfoContext(ctx, "message")
	if err := <-seen; err != nil {
		t.Error(err)
	}
}

type contextual struct{ see func(context.Context) }

func (contextual) Enabled(context.Context, slog.Level) bool { return true }
func (c contextual) WithAttrs([]slog.Attr) slog.Handler     { return c }
func (c contextual) WithGroup(string) slog.Handler          { return c }
func (c contextual) Handle(ctx context.Context, _ slog.Record) error {
	c.see(ctx)
	return nil
}

// BenchmarkLog is what it costs who logs.
func BenchmarkLog(b *testing.B) {
	h := asynclog.New(contextual{func(context.Context) {}})
	log := slog.New(h)
	b.ReportAllocs()
	for b.Loop() {
		log.Info("message", "remote", "192.0.2.1:1234", "times", 17)
	}
}

func Example() {
	h := asynclog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	log := slog.New(h)
	log.Info("started", "port", 8080) // returns at once, whoever reads stdout
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = h.Flush(ctx) // before the process ends
	// Output: level=INFO msg=started port=8080
}
