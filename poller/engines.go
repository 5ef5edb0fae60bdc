package poller

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// New returns the engine of that name; "" is the default of this operating
// system: epoll on Linux, easygo on macOS, FreeBSD and DragonFly. On other
// systems the error wraps [ErrNotSupported]. [Engines] lists the names.
func New(name string) (Engine, error) {
	if len(engines) == 0 {
		return nil, unsupportedOS()
	}
	if name == "" {
		return engines[0], nil
	}
	for _, e := range engines {
		if e.Name() == name {
			return e, nil
		}
	}
	return nil, fmt.Errorf("poller: unknown engine %q: use one of %s",
		name, strings.Join(Engines(), ", "))
}

// Engines returns the names [New] takes on this operating system, the default
// first.
func Engines() []string {
	names := make([]string, len(engines))
	for i, e := range engines {
		names[i] = e.Name()
	}
	return names
}

// start is where [Engine.Now] counts from for all engines of the process, so
// that their deadlines compare.
var start = time.Now()

// unsupportedOS is the error of everything on a system without an engine.
func unsupportedOS() error {
	return unsupportedError(runtime.GOOS + " is not supported: millrace needs epoll or kqueue")
}

// unsupportedError is an [ErrNotSupported] that reads as its own reason.
type unsupportedError string

func (e unsupportedError) Error() string { return "poller: " + string(e) }
func (unsupportedError) Unwrap() error   { return ErrNotSupported }
