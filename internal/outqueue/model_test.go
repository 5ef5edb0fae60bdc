package outqueue_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/buffer"
	"github.com/millrace/millrace/internal/outqueue"
	"github.com/millrace/millrace/sse"
	"github.com/millrace/millrace/ws"
)

var errAgain = errors.New("no more for now")

// sink is a Writer that takes so many bytes a call, and fails with errAgain if that is none.
type sink struct {
	t      *testing.T
	takes  int
	wire   []byte
	pieces [][]byte // of the last call
	tell   func(missing int) []byte
	told   func(bytes int)
}

func (s *sink) Missing(frames int) []byte { return s.tell(frames) }

func (s *sink) Told(bytes int) {
	if s.told != nil {
		s.told(bytes)
	}
}

func (s *sink) Write(p []byte) (int, error) { return s.take([][]byte{p}) }

func (s *sink) Writev(pieces [][]byte) (int, error) {
	if len(pieces) < 2 || len(pieces) > 16 {
		s.t.Errorf("Writev got %d pieces", len(pieces))
	}
	return s.take(pieces)
}

func (s *sink) take(pieces [][]byte) (n int, err error) {
	s.pieces = append(s.pieces[:0], pieces...)
	for _, p := range pieces {
		if len(p) == 0 {
			s.t.Error("got an empty piece")
		}
		k := min(len(p), s.takes-n)
		s.wire = append(s.wire, p[:k]...)
		n += k
	}
	if n == 0 {
		return 0, errAgain
	}
	return n, nil
}

// model is a queue in plain slices.
type model struct {
	keepsGaps bool
	units     []unit                     // what waits: frames, behind plain bytes perhaps, and gaps
	plain     bool                       // the first is no frame
	off       int                        // bytes of the first that are written
	loose     map[*byte]*outqueue.Shared // frames that may be dropped, by their last byte
	pong      []byte
	wire      []byte // what was written
}

// unit is a frame, or so many that are missing.
type unit struct {
	frame   []byte
	missing int
}

func (m *model) add(frames ...[]byte) {
	for _, f := range frames {
		m.units = append(m.units, unit{frame: f})
	}
}

// settle has gaps that stand side by side be one.
func (m *model) settle() {
	var kept []unit
	for _, u := range m.units {
		if last := len(kept) - 1; u.missing > 0 && last >= 0 && kept[last].missing > 0 {
			kept[last].missing += u.missing
		} else {
			kept = append(kept, u)
		}
	}
	m.units = kept
}

// unwritten is how many bytes wait, and gaps how many gaps.
func (m *model) unwritten() (bytes, gaps int) {
	for _, u := range m.units {
		bytes += len(u.frame)
		gaps += min(u.missing, 1)
	}
	return bytes - m.off, gaps
}

func (m *model) write(n int) {
	for n > 0 {
		first := m.units[0].frame
		k := min(n, len(first)-m.off)
		m.wire = append(m.wire, first[m.off:m.off+k]...)
		n -= k
		if m.off += k; m.off == len(first) {
			m.units, m.off, m.plain = m.units[1:], 0, false
		}
	}
}

// looseAt is the frame at a place if it may be dropped.
func (m *model) looseAt(i int) *outqueue.Shared {
	if i == 0 && (m.off > 0 || m.plain) || m.units[i].missing > 0 {
		return nil
	}
	return m.loose[last(m.units[i].frame)]
}

// last is where a frame's last byte is: what tells it from others.
func last(frame []byte) *byte { return &frame[len(frame)-1] }

// drop drops what may be and is to be, and says how many frames that were.
func (m *model) drop(which func(*outqueue.Shared) bool) (n int) {
	var kept []unit
	for i, u := range m.units {
		if s := m.looseAt(i); s == nil || !which(s) {
			kept = append(kept, u)
			continue
		}
		if n++; m.keepsGaps {
			kept = append(kept, unit{missing: 1})
		}
	}
	m.units = kept
	m.settle()
	return n
}

// looseBytes are those that may be dropped.
func (m *model) looseBytes() (n int) {
	for i := range m.units {
		if s := m.looseAt(i); s != nil {
			n += len(s.Frame)
		}
	}
	return n
}

// looseFrames is how many these are.
func (m *model) looseFrames() (n int) {
	for i := range m.units {
		if m.looseAt(i) != nil {
			n++
		}
	}
	return n
}

// keyed is the place of the frame that may be dropped with a key, below 0: there is none.
func (m *model) keyed(key any) int {
	for i := range m.units {
		if s := m.looseAt(i); s != nil && s.Key != nil && s.Key == key {
			return i
		}
	}
	return -1
}

func (m *model) truncate() {
	m.pong = nil
	if m.off > 0 || m.plain {
		m.units = m.units[:1]
	} else {
		m.units = nil
	}
}

// sizes are those of payloads: around the edges of headers and segments.
var sizes = []int{0, 1, 100, 125, 126, 500, 1000, 2043, 2044, 4091, 4092, 4093, 5000, 9000, 65_536}

// player plays a script to a queue and a model, and compares.
type player struct {
	t      *testing.T
	q      outqueue.Queue
	m      model
	sink   sink
	script []byte
	count  byte
	shared map[*byte]int // how often a frame that ends there waits, and was shared
	shares int           // that are not released
}

// next is the script's next byte, below bound.
func (p *player) next(bound int) int {
	if len(p.script) == 0 {
		return 0
	}
	b := p.script[0]
	p.script = p.script[1:]
	return int(b) % bound
}

// units makes up to three frames, or plain bytes and then frames.
func (p *player) units(plain int) (units [][]byte, all []byte) {
	if plain > 0 {
		units = append(units, bytes.Repeat([]byte{'p'}, plain))
	}
	for range 1 + p.next(3) {
		p.count++
		units = append(units, p.framed(sizes[p.next(len(sizes))]))
	}
	return units, bytes.Join(units, nil)
}

// before is how many of these bytes were written before they are queued.
func (p *player) before(all []byte) (n int) {
	if len(p.m.units) == 0 {
		n = min(p.next(256)*p.next(256), len(all)-1)
	}
	p.sink.wire = append(p.sink.wire, all[:n]...)
	return n
}

func (p *player) step() {
	switch p.next(13) {
	case 0, 1:
		plain := 0
		if len(p.m.units) == 0 {
			plain = p.next(4) * 50
		}
		units, all := p.units(plain)
		n, cut := p.before(all), len(all)
		if len(units) == 1 && plain == 0 { // a frame may come in two: its header, and its payload
			cut -= p.next(2) * (len(all) - 2)
		}
		p.q.Add(all[:cut], all[cut:], plain, n)
		p.m.add(units...)
		p.m.plain = p.m.plain || plain > 0
		p.m.write(n)
		clear(all) // it was copied
	case 2:
		units, all := p.units(0)
		n := p.before(all)
		buf := buffer.Get(len(all))
		buf.B = append(buf.B, all...)
		p.q.Adopt(buf, n)
		p.m.add(units...)
		p.m.write(n)
	case 3, 4, 5:
		p.write(p.next(256)*p.next(256), 1+p.next(256)*p.next(256)*p.next(256))
	case 6:
		p.q.Truncate()
		p.m.truncate()
	case 7:
		p.pong()
	case 8:
		if p.next(4) == 0 {
			p.q.Release()
			p.m = model{wire: p.m.wire, loose: p.m.loose, keepsGaps: p.m.keepsGaps}
		}
	case 9:
		p.share()
	case 10:
		p.drop()
	case 11:
		p.replace()
	case 12:
		missing := 1 + p.next(3)
		if p.q.AddGap(missing); p.q.Gaps {
			p.m.units = append(p.m.units, unit{missing: missing})
			p.m.settle()
		}
	}
}

// tell is the frame for a gap.
func (p *player) tell(missing int) []byte {
	if !slices.ContainsFunc(p.m.units, func(u unit) bool { return u.missing == missing }) {
		p.t.Fatalf("there is no gap of %d in %v", missing, p.m.units)
	}
	size := sizes[missing%len(sizes)]
	if p.q.Events {
		return sse.AppendEvent(nil, sse.Event{Data: bytes.Repeat([]byte{'A'}, size)})
	}
	return ws.AppendFrame(nil, ws.Text, bytes.Repeat([]byte{'A'}, size))
}

// told fills the first gap.
func (p *player) told(size int) {
	at := slices.IndexFunc(p.m.units, func(u unit) bool { return u.missing > 0 })
	if at < 0 {
		p.t.Fatalf("a gap is told of in %v", p.m.units)
	}
	frame := p.tell(p.m.units[at].missing)
	if len(frame) != size {
		p.t.Fatalf("%d bytes tell of a gap, want %d", size, len(frame))
	}
	p.m.units[at] = unit{frame: bytes.Clone(frame)}
}

// framed is a frame, or an event, with so many bytes of payload.
func (p *player) framed(size int) []byte {
	if p.q.Events {
		return sse.AppendEvent(nil, sse.Event{Data: bytes.Repeat([]byte{'a' + p.count%26}, size)})
	}
	return ws.AppendFrame(nil, ws.Binary, bytes.Repeat([]byte{p.count}, size))
}

// frame is a new one that is shared.
func (p *player) frame() *outqueue.Shared {
	p.count++
	frame := p.framed(sizes[p.next(len(sizes))])
	shared := &outqueue.Shared{Frame: frame, Expires: uint32(p.next(4))}
	if key := p.next(4); key > 0 {
		shared.Key, shared.KeyHash = key, uint32(key)/2 // some keys have the same hash
	}
	shared.Released = func() {
		p.shares--
		p.shared[last(frame)]--
	}
	return shared
}

// hold notes that one more waits.
func (p *player) hold(s *outqueue.Shared) {
	p.shares++
	p.shared[last(s.Frame)]++
}

// share queues a frame once, or twice as two queues would.
func (p *player) share() {
	shared, loose := p.frame(), p.next(2) == 0
	if loose {
		p.m.loose[last(shared.Frame)] = shared
	}
	for range 1 + p.next(2) {
		n := p.before(shared.Frame)
		p.hold(shared)
		p.q.Share(shared, n, loose)
		p.m.add(shared.Frame)
		p.m.write(n)
	}
}

// drop drops the oldest, or those that have expired.
func (p *player) drop() {
	var got, want int
	if p.next(2) == 0 {
		now := uint32(p.next(4))
		got = p.q.Expire(now)
		want = p.m.drop(func(s *outqueue.Shared) bool { return s.Expires != 0 && s.Expires <= now })
	} else {
		bytes := p.next(256) * 50
		got = p.q.DropOldest(bytes)
		want = p.m.drop(func(s *outqueue.Shared) bool {
			bytes -= len(s.Frame)
			return bytes+len(s.Frame) > 0
		})
	}
	if got != want {
		p.t.Fatalf("%d frames were dropped, want %d", got, want)
	}
}

func (p *player) replace() {
	shared := p.frame()
	size, place := 0, p.m.keyed(shared.Key)
	if place >= 0 {
		size = len(p.m.units[place].frame)
	}
	at, got := p.q.Keyed(shared.Key, shared.KeyHash)
	if got != size {
		p.t.Fatalf("Keyed finds %d bytes, want %d", got, size)
	}
	if size == 0 {
		return
	}
	if p.next(3) == 0 {
		p.m.units = slices.Delete(p.m.units, place, place+1)
		p.m.settle()
		p.q.Remove(at)
		return
	}
	p.m.loose[last(shared.Frame)] = shared
	p.m.units[place].frame = shared.Frame
	p.hold(shared)
	p.q.Replace(at, shared)
}

// write writes once.
func (p *player) write(takes, most int) {
	if len(p.m.units) == 0 {
		return
	}
	p.sink.takes = takes
	n, err := p.q.Write(&p.sink, most)
	if n > most || (n == 0) != (err == errAgain) {
		p.t.Fatalf("Write of %d bytes at most: %d, %v", most, n, err)
	}
	all, gaps := p.m.unwritten()
	if n < min(takes, most, all) && gaps == 0 && len(p.sink.pieces) < 16 {
		p.t.Fatalf("Write offered %d bytes of %d", n, min(most, all))
	}
	p.m.write(n)
}

func (p *player) pong() {
	if p.q.Events {
		return
	}
	switch p.next(4) {
	case 0:
		p.count++
		p.m.pong = bytes.Repeat([]byte{p.count}, p.next(ws.MaxControlPayload+1))
		p.q.SetPong(p.m.pong)
	case 1:
		p.q.DropPong()
		p.m.pong = nil
	case 2:
		want := []byte(nil)
		if p.m.pong != nil && len(p.m.units) == 0 {
			want = ws.AppendFrame(nil, ws.Pong, p.m.pong)
			p.m.add(want)
			p.m.pong = nil
		}
		if n := p.q.FramePong(); n != len(want) {
			p.t.Fatalf("FramePong: %d, want %d", n, len(want))
		}
	case 3:
		want := []byte(nil)
		if p.m.pong != nil {
			want = ws.AppendFrame(nil, ws.Pong, p.m.pong)
			p.m.add(want)
			p.m.pong = nil
		}
		if n := p.q.PlacePong(); n != len(want) {
			p.t.Fatalf("PlacePong: %d, want %d", n, len(want))
		}
	}
}

// check compares the counts, and the memory with the buffers that a Writer is shown.
func (p *player) check() {
	q := &p.q
	bytes, gaps := p.m.unwritten()
	if q.LooseFrames() != p.m.looseFrames() {
		p.t.Fatalf("LooseFrames %d, want %d", q.LooseFrames(), p.m.looseFrames())
	}
	if q.Loose() != p.m.looseBytes() {
		p.t.Fatalf("Loose %d, want %d", q.Loose(), p.m.looseBytes())
	}
	if q.Unwritten() != bytes || q.Len() != bytes+len(p.m.pong) || q.Empty() != (len(p.m.units) == 0 && p.m.pong == nil) {
		p.t.Fatalf("Unwritten %d, Len %d, Empty %v; %d bytes wait, and a pong of %d", q.Unwritten(), q.Len(), q.Empty(), bytes, len(p.m.pong))
	}
	shares := 0
	for _, u := range p.m.units {
		if u.missing == 0 && p.shared[last(u.frame)] > 0 {
			shares++
		}
	}
	if p.shares != shares {
		p.t.Fatalf("%d shared frames are not released, %d wait", p.shares, shares)
	}
	room := q.Memory() - 96*gaps
	if p.m.pong != nil {
		room -= ws.MaxControlPayload
	}
	if bytes == 0 {
		if room != 0 && room != ws.MaxControlPayload {
			p.t.Fatalf("%d bytes of memory, and nothing waits", room)
		}
		return
	}
	if gaps > 0 {
		return // a Write would fill them
	}
	p.sink.takes = 0
	_, _ = q.Write(&p.sink, math.MaxInt) // it only looks
	if len(p.sink.pieces) == 16 {
		return // there may be more
	}
	p.checkMemory(room)
}

// checkMemory compares the room that is counted with the pieces that were shown.
func (p *player) checkMemory(room int) {
	for i, piece := range p.sink.pieces {
		room -= 96
		if i > 0 && p.shared[last(piece)] == 0 {
			room -= cap(piece)
		}
	}
	if p.shared[last(p.sink.pieces[0])] > 0 {
		if room != 0 {
			p.t.Fatalf("%d bytes are left for no buffer", room)
		}
		return
	}
	if first := cap(p.sink.pieces[0]); room < first || buffer.CapOf(room) != room {
		p.t.Fatalf("%d bytes are left for a buffer of which %d are there", room, first)
	}
}

// play plays the script, and then writes all.
func play(t *testing.T, events, gaps bool, script []byte) {
	script = script[:min(len(script), 500)]
	p := &player{t: t, script: script, shared: map[*byte]int{}}
	p.m.loose = map[*byte]*outqueue.Shared{}
	p.q.Events, p.q.Gaps, p.m.keepsGaps = events, gaps, gaps
	p.sink.t, p.sink.tell, p.sink.told = t, p.tell, p.told
	for len(p.script) > 0 {
		p.step()
		p.check()
	}
	for len(p.m.units) > 0 {
		p.write(math.MaxInt, math.MaxInt)
		p.check()
	}
	if p.shares != 0 {
		t.Errorf("%d shared frames are never released", p.shares)
	}
	if !bytes.Equal(p.sink.wire, p.m.wire) {
		t.Errorf("%d bytes were written, want %d others", len(p.sink.wire), len(p.m.wire))
	}
}

// TestModel: whatever comes in which order, what is written is whole frames in their order,
// and after a truncation at most the rest of the one that is begun.
func TestModel(t *testing.T) {
	for seed := range uint64(150) {
		random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
		script := make([]byte, 20+seed)
		_, _ = random.Read(script) // it does not fail
		events, gaps := seed%3 == 0, seed%2 == 0
		play(t, events, gaps, script)
		if t.Failed() {
			t.Fatalf("with seed %d, events %v, gaps %v", seed, events, gaps)
		}
	}
}

func FuzzModel(f *testing.F) {
	f.Add(false, false, []byte{0, 0, 0, 3, 0, 0, 3, 3, 1, 9, 1, 6, 0, 0, 4, 3, 255, 255, 255, 255, 9})
	f.Add(false, false, []byte{0, 2, 1, 7, 0, 9, 7, 2, 3, 10, 1, 255, 1, 1, 6})
	f.Add(true, false, []byte{2, 0, 16, 100, 100, 3, 200, 200, 255, 255, 255, 6, 7, 0, 100, 7, 2})
	f.Add(false, true, []byte{9, 4, 1, 0, 0, 0, 0, 12, 2, 9, 4, 1, 0, 1, 0, 10, 1, 255, 3, 3, 255, 255, 255, 255, 255, 13, 2})
	f.Add(true, true, []byte{0, 0, 0, 3, 0, 0, 0, 9, 5, 2, 3, 0, 0, 9, 3, 1, 0, 0, 1, 10, 0, 2, 11, 1, 0, 3, 3, 99, 99, 99, 99, 13, 1})
	f.Fuzz(play)
}
