package ws_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/ws"
)

func TestPreparedForms(t *testing.T) {
	envelope := func() []byte { return []byte("{\n\"data\":1}") }
	for _, test := range []struct {
		name             string
		p                *ws.Prepared
		event, enveloped string
	}{
		{"text", ws.Prepare(ws.Text, []byte("a\nb")), "data: a\ndata: b\n\n", "data: a\ndata: b\n\n"},
		{"empty", ws.Prepare(ws.Text, nil), "data: \n\n", "data: \n\n"},
		{"binary", ws.Prepare(ws.Binary, []byte("a")), "", ""},
		{"id", ws.PrepareWith(ws.Text, []byte("a"), ws.PrepareOptions{ID: "e-7"}), "id: e-7\ndata: a\n\n", "id: e-7\ndata: a\n\n"},
		{"bad id", ws.PrepareWith(ws.Text, []byte("a"), ws.PrepareOptions{ID: "1\ndata: x"}), "data: a\n\n", "data: a\n\n"},
		{"name", ws.PrepareWith(ws.Text, []byte("a"), ws.PrepareOptions{Event: "gap", NotPlain: true}), "event: gap\ndata: a\n\n", "event: gap\ndata: a\n\n"},
		{"name and envelope", ws.PrepareWith(ws.Text, []byte("a"), ws.PrepareOptions{Event: "gap", Envelope: envelope}),
			"event: gap\ndata: a\n\n", "event: gap\ndata: {\ndata: \"data\":1}\n\n"},
		{"bad name", ws.PrepareWith(ws.Text, []byte("a"), ws.PrepareOptions{Event: "1\ndata: x"}), "data: a\n\n", "data: a\n\n"},
		{"envelope", ws.PrepareWith(ws.Text, []byte("a"), ws.PrepareOptions{ID: "1", Envelope: envelope}),
			"id: 1\ndata: a\n\n", "id: 1\ndata: {\ndata: \"data\":1}\n\n"},
		{"envelope of binary", ws.PrepareWith(ws.Binary, []byte("\xff"), ws.PrepareOptions{Envelope: envelope}),
			"", "data: {\ndata: \"data\":1}\n\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // the second one is kept
				if got := test.p.Event(); string(got) != test.event || (got == nil) != (test.event == "") {
					t.Errorf("event %q", got)
				}
				e := test.p.Enveloped()
				if got := e.Event(); string(got) != test.enveloped {
					t.Errorf("enveloped %q", got)
				}
				if e != test.p.Enveloped() || e.Enveloped() != e {
					t.Error("the envelope is another one")
				}
			}
		})
	}
}

// TestPreparedFormsAtOnce has many ask at the same time and get the same.
func TestPreparedFormsAtOnce(t *testing.T) {
	var calls atomic.Int32
	p := ws.PrepareWith(ws.Text, []byte("a"), ws.PrepareOptions{Envelope: func() []byte {
		calls.Add(1)
		return []byte("b")
	}})
	const askers = 8
	var all sync.WaitGroup
	var enveloped [askers]*ws.Prepared
	var events [askers][]byte
	for i := range askers {
		all.Go(func() {
			enveloped[i] = p.Enveloped()
			events[i] = enveloped[i].Event()
		})
	}
	all.Wait()
	for i := range askers {
		if enveloped[i] != enveloped[0] || &events[i][0] != &events[0][0] {
			t.Error("not the same")
		}
	}
	if n := calls.Load(); n < 1 || n > askers {
		t.Errorf("%d calls", n)
	}
	z := ws.Deflater{Level: 1, Threshold: -1}
	if frame, _ := p.Enveloped().Deflated(z); len(frame) == 0 {
		t.Error("no compressed form")
	}
}
