// Package reload keeps what is read from files as these are now: it reads them again when they change. What can not be
// read, or used, is tried again until it can, and the old one stays meanwhile.
package reload

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Files is what some files hold, as it was when they were last read without an
// error. Its methods may be called from any goroutine.
type Files[T any] struct {
	names   []string
	load    func() (*T, error)
	current atomic.Pointer[T]

	mu     sync.Mutex // one reads at a time
	seen   []stamp    // of the files when they were last read, successfully or not
	failed bool       // the last reading has failed
}

// stamp tells whether a file is still the one that was read. It is of what a
// symbolic link leads to, which is how mounted secrets change.
type stamp struct {
	size int64
	at   time.Time
}

// Read reads files for the first time.
func Read[T any](names []string, load func() (*T, error)) (*Files[T], error) {
	f := &Files[T]{names: names, load: load}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Current is what they held when they were last read.
func (f *Files[T]) Current() *T { return f.current.Load() }

// Reload reads the files. On an error all stays as it was.
func (f *Files[T]) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reload(f.stamps())
}

// reload reads the files, which had these stamps before: a later change is seen.
func (f *Files[T]) reload(stamps []stamp) error {
	f.seen = stamps
	read, err := f.load()
	if f.failed = err != nil; f.failed {
		return err
	}
	f.current.Store(read)
	return nil
}

// ReloadIfChanged is Reload if a file has changed since they were last read, or if
// that has failed: the reason may be gone without a change of theirs, or of several files
// that belong together only one was new yet.
func (f *Files[T]) ReloadIfChanged() (reloaded bool, err error) {
	reloaded, _, err = f.look()
	return reloaded, err
}

// look is ReloadIfChanged, and says whether an error is news: the files were well
// before, or are others.
func (f *Files[T]) look() (reloaded, news bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.stamps()
	changed, failed := !slices.Equal(now, f.seen), f.failed
	if !changed && !failed {
		return false, false, nil
	}
	err = f.reload(now)
	return err == nil, changed || !failed, err
}

// Watch calls ReloadIfChanged every period until ctx is done, and tells what came of
// it: nil when the files were read, and why they were not, once until that or they
// change. It blocks.
func (f *Files[T]) Watch(ctx context.Context, period time.Duration, tell func(error)) {
	look := time.NewTicker(period)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if reloaded, news, err := f.look(); reloaded || news && err != nil {
			tell(err)
		}
	}
}

// stamps are those of the files; one that is not there has the zero stamp.
func (f *Files[T]) stamps() []stamp {
	now := make([]stamp, len(f.names))
	for i, name := range f.names {
		if info, err := os.Stat(name); err == nil {
			now[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return now
}
