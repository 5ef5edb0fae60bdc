package load_test

import (
	"testing"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/server"
)

// TestStepWithoutWindow: what had no measured window has no rate, and not 0.
func TestStepWithoutWindow(t *testing.T) {
	d := newDealer(t.Context(), t, brief(result.Echo, serve(t, "127.0.0.1:0", &server.Server{Handler: &echo{}})))
	if r := d.answer().Result; r.Seconds != 0 || result.Known(r.PerSecond) { // it opened the connections
		t.Errorf("%v a second in %v s", r.PerSecond, r.Seconds)
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
}
