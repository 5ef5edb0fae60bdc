package cert

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/reload"
)

// files is what some files hold. Its methods are those of Pair and Pool.
type files[T any] struct{ from *reload.Files[T] }

// Reload reads the files. On an error all stays as it was.
func (f *files[T]) Reload() error { return f.from.Reload() }

// ReloadIfChanged is Reload if a file has changed since they were last read, or if
// that has failed: the reason may be gone without a change of theirs, such as missing
// permission or a time that had not come. Of several files that belong together only
// one may be new yet: that is such an error as well.
func (f *files[T]) ReloadIfChanged() (reloaded bool, err error) { return f.from.ReloadIfChanged() }

// Watch calls ReloadIfChanged every period until ctx is done, and tells what came of
// it: nil when the files were read, and why they were not, once until that or they
// change. It blocks.
func (f *files[T]) Watch(ctx context.Context, period time.Duration, tell func(error)) {
	f.from.Watch(ctx, period, tell)
}
