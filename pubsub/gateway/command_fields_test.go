package gateway_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/pubsub/gateway"
)

// TestRefusalsAreShort: a refusal tells only the beginning of what a client has sent.
func TestRefusalsAreShort(t *testing.T) {
	t.Parallel()
	r := newRig(t, gateway.Options{Open: true})
	c := r.connect("/topics?envelope=1")
	long, digits := strings.Repeat("\x7f", 100_000), strings.Repeat("9", 100_000)
	for _, text := range []string{
		`{"id":1,"subscribe":"+` + long + `"}`, `{"id":1,"subscribe":"#/` + long + `"}`, `{"id":1,"subscribe":"` + long + `"}`, `{"id":1,"subscribe":"a","since":"` + long + `"}`,
		`{"id":1,"subscribe":"a","last":` + digits + `}`, `{"id":1,"subscribe":"a","` + long + `":1}`, `{"id":1,"unsubscribe":"` + long + `"}`,
		`{"id":1,"publish":"+` + long + `","data":""}`, `{"id":1,"publish":"` + long + `","data":""}`, `{"id":1,"publish":"a","data":"","expires":` + digits + `}`, `{"id":` + digits + `,"ping":true}`,
		`{"id":1,"publish":"a","data":"","key":"` + long + `"}`, `{"id":1,"token":` + digits + `}`,
	} {
		c.SendText(text)
		if got := c.ReceiveText(); !strings.Contains(got, `"error":`) || len(got) > 2000 {
			t.Errorf("%.50s: %d bytes, %.300s", text, len(got), got)
		}
	}
}
