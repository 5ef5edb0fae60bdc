package ws

import "github.com/millrace/millrace/internal/buffer"

// Window is the end of what has gone over a connection in one direction in
// compressed messages: all that context takeover needs between two of them (RFC
// 7692 section 7.2), so a connection keeps no compressor and no inflater. It
// takes memory for what it has seen, at most 2^Bits bytes and at least 512 once
// it has seen anything, from a pool.
type Window struct {
	Bits int // 8 to 15, as agreed; a sender may keep less

	seen *buffer.Buffer
}

// Add notes a message, or a piece of one, that was compressed.
func (w *Window) Add(p []byte) {
	size := 1 << w.Bits
	p = p[max(0, len(p)-size):]
	old := w.bytes()
	old = old[max(0, len(old)+len(p)-size):]
	need := len(old) + len(p)
	if w.seen != nil && cap(w.seen.B) >= need {
		w.seen.B = append(append(w.seen.B[:0], old...), p...)
		return
	}
	larger := buffer.Get(need)
	larger.B = append(append(larger.B, old...), p...)
	w.seen.Free()
	w.seen = larger
}

// Held is the memory that the window takes, in bytes.
func (w *Window) Held() int {
	if w.seen == nil {
		return 0
	}
	return cap(w.seen.B)
}

// Free gives the memory back and forgets everything.
func (w *Window) Free() {
	w.seen.Free()
	w.seen = nil
}

// bytes is what the window holds; nil for no window.
func (w *Window) bytes() []byte {
	if w == nil || w.seen == nil {
		return nil
	}
	return w.seen.B
}
