package load_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/load"
	"github.com/millrace/millrace/server"
)

// TestServerInThisProcess: a server beside the load in one process has no figures of its own.
func TestServerInThisProcess(t *testing.T) {
	leavesNothing(t)
	p := brief(result.Echo, serve(t, "127.0.0.1:0", &server.Server{Handler: plainEcho{}}))
	r := run(t, p, load.Watch{})
	if r.Server != nil || !strings.Contains(strings.Join(r.Notes, "\n"), "in this process") {
		t.Errorf("%+v, notes %q", r.Server, r.Notes)
	}
}
