package server_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
)

// TestBadFrames has a bad frame in each subtest, which ends in a close frame. A valid message goes before each bad
// frame and must be answered, one goes behind and must not.
func TestBadFrames(t *testing.T) {
	t.Parallel()
	onTransports(t, testBadFrames)
}

func testBadFrames(t *testing.T, serve serving) {
	t.Parallel()
	addr, _ := serve(t, func(s *server.Server) { s.Limits.Message = 1000 })
	mask := "\x01\x02\x03\x04"
	long := func(form byte, length string) string {
		return string([]byte{fin | opBinary, 0x80 | form}) + length + mask
	}
	for _, test := range []struct {
		line  string
		code  uint16
		cases []string
	}{
		{"Unmasked => 1002", 1002, []string{"\x81\x05hello", "\x81\x00", "\x89\x00"}},
		{"RSV without extension => 1002", 1002, []string{
			rawFrame(fin|0x40|opText, "x"), rawFrame(fin|0x20|opText, "x"), rawFrame(fin|0x10|opText, "x"),
			rawFrame(fin|0x40|opPing, ""), rawFrame(fin|0x70|opText, "x"),
			fragment(opText, "x") + rawFrame(fin|0x40|opContinuation, "x"),
		}},
		{"reserved opcode => 1002", 1002, []string{
			frame(3, ""), frame(4, "x"), frame(5, "x"), frame(6, "x"), frame(7, "x"), frame(11, ""), frame(12, "x"),
			frame(13, "x"), frame(14, "x"), frame(15, "x"), fragment(3, "x"),
		}},
		{"control > 125 B or fragmented => 1002", 1002, []string{
			frame(opPing, strings.Repeat("x", 126)), frame(opPong, strings.Repeat("x", 126)),
			frame(opClose, closePayload(1000, strings.Repeat("x", 124))), frame(opPing, strings.Repeat("x", 70_000)),
			fragment(opPing, "x"), fragment(opPong, ""), fragment(opClose, closePayload(1000, "")),
		}},
		{"continuation first => 1002", 1002, []string{
			frame(opContinuation, "x"), fragment(opContinuation, "x"),
		}},
		{"data inside a fragmented message => 1002", 1002, []string{
			fragment(opText, "x") + frame(opText, "y"), fragment(opBinary, "x") + fragment(opBinary, "y"),
		}},
		{"length with MSB set => 1002", 1002, []string{
			long(127, "\x80\x00\x00\x00\x00\x00\x00\x01"), long(127, "\xff\xff\xff\xff\xff\xff\xff\xff"),
		}},
		{"non-minimal length => 1002", 1002, []string{
			long(126, "\x00\x7d"), long(126, "\x00\x00"), long(127, "\x00\x00\x00\x00\x00\x00\xff\xff"),
			long(127, "\x00\x00\x00\x00\x00\x00\x00\x05"),
		}},
		{"Length 2^62, 2^48, limit + 1, header only => 1009 at once", 1009, []string{
			long(127, "\x40\x00\x00\x00\x00\x00\x00\x00"), long(127, "\x00\x01\x00\x00\x00\x00\x00\x00"),
			long(126, "\x03\xe9"),
		}},
		{"fragments that sum over the limit => 1009", 1009, []string{
			fragment(opText, strings.Repeat("x", 600)) + frame(opContinuation, strings.Repeat("x", 401)),
			strings.Replace(strings.Repeat(fragment(opContinuation, strings.Repeat("x", 100)), 11), "\x00", "\x02", 1),
		}},
	} {
		t.Run(test.line, func(t *testing.T) {
			for _, bad := range test.cases {
				// Whole and split: once the bad frame in the request's own segment.
				c := dial(t, addr)
				c.send(upgradeRequest() + frame(opText, "before") + bad + frame(opText, "behind"))
				c.expectSwitch()
				c.expect(opText, "before")
				c.expectClose(test.code)

				c = dial(t, addr).upgraded()
				c.send(bad) // alone: the answer must not wait for more bytes
				c.expectClose(test.code)
			}
		})
	}
}

// TestBigLengthAllocatesNothing: a header that announces much gets no memory.
func TestBigLengthAllocatesNothing(t *testing.T) {
	addr, _ := startServer(t, func(s *server.Server) {
		s.Limits.Message, s.Runtime.Workers = 64<<20, 1 // a worker's buffers are not what is measured
	})
	for _, length := range []uint64{1 << 62, 1 << 48, 64<<20 + 1} {
		c := dial(t, addr).upgraded()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.send(string(lengthBytes(fin|opBinary, 0x80, length)))
		c.expectClose(1009)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 256<<10 {
			t.Errorf("length %d: %d bytes were allocated", length, grown)
		}
	}
}

// TestMessageLimit: "exactly the limit => accepted", whole and in fragments, by
// default 1 MiB.
func TestMessageLimit(t *testing.T) {
	t.Parallel()
	onTransports(t, testMessageLimit)
}

func testMessageLimit(t *testing.T, serve serving) {
	t.Parallel()
	addr, _ := serve(t, func(s *server.Server) { s.Queue.Max = 4 << 20 })
	limit := strings.Repeat("x", 1<<20)
	for name, stream := range map[string]string{
		"a frame":   frame(opBinary, limit),
		"fragments": fragment(opBinary, limit[:1]) + fragment(opContinuation, "") + frame(opContinuation, limit[1:]),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr).upgraded()
			go func() { _, _ = c.Write([]byte(stream)) }() // what is lost is missed below
			c.expect(opBinary, limit)
		})
	}
	t.Run("one more byte", func(t *testing.T) {
		c := dial(t, addr).upgraded()
		go func() { _, _ = c.Write([]byte(frame(opBinary, limit+"x"))) }() // the close frame is what counts
		c.expectClose(1009)
	})
}

// TestEmptyFragments: "200,000 empty fragments => 1008".
func TestEmptyFragments(t *testing.T) {
	t.Parallel()
	onTransports(t, testEmptyFragments)
}

func testEmptyFragments(t *testing.T, serve serving) {
	t.Parallel()
	addr, _ := serve(t, nil)
	flood := fragment(opBinary, "") + strings.Repeat(fragment(opContinuation, ""), 200_000)
	c := dial(t, addr).upgraded()
	go func() { _, _ = c.Write([]byte(flood)) }() // the close frame is what counts
	c.expectClose(1008)

	c = dial(t, addr).upgraded()
	c.send(fragment(opText, "a") + strings.Repeat(fragment(opContinuation, ""), 1000) + frame(opContinuation, "b"))
	c.expect(opText, "ab")
}

// TestOneByteFragments: "1 MiB in 1-byte fragments => memory <= 2x", live bytes
// at its end.
func TestOneByteFragments(t *testing.T) {
	addr, _ := startServer(t, func(s *server.Server) {
		s.Queue.Max, s.Runtime.Workers = 4<<20, 1 // a worker's buffers are not what is measured
	})
	c := dial(t, addr).upgraded()
	stream := fragment(opBinary, "x") + strings.Repeat(fragment(opContinuation, "x"), 1<<20-2)
	before := liveHeap()
	c.send(stream)
	c.send(frame(opPing, "taken?")) // its pong says that all before it is taken
	c.expect(opPong, "taken?")
	if grown := int64(liveHeap()) - int64(before); grown > 2<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	c.send(frame(opContinuation, "x"))
	c.expect(opBinary, strings.Repeat("x", 1<<20))
	runtime.KeepAlive(stream)
}

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold is gone after two
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestPingBetweenFragments: "Ping between fragments => pong first, then the
// message".
func TestPingBetweenFragments(t *testing.T) {
	t.Parallel()
	onTransports(t, testPingBetweenFragments)
}

func testPingBetweenFragments(t *testing.T, serve serving) {
	t.Parallel()
	addr, _ := serve(t, nil)
	for _, gap := range []string{"", "one segment each"} {
		t.Run(gap, func(t *testing.T) {
			c := dial(t, addr).upgraded()
			c.send(fragment(opText, "He") + frame(opPing, "now"))
			if gap != "" {
				c.expect(opPong, "now")
			}
			c.send(frame(opPong, "unasked") + fragment(opContinuation, "ll") + frame(opPing, "") + frame(opContinuation, "o"))
			if gap == "" {
				c.expect(opPong, "now")
			}
			c.expect(opPong, "")
			c.expect(opText, "Hello")
		})
	}
}

// TestFrameSplit: "header split everywhere, payload a byte at a time => echo".
func TestFrameSplit(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 125, 126, 127, 300, 65_535, 65_536} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			n, addr, _ := startSim(t, simnet.Config{}, nil)
			payload := strings.Repeat("pay", size/3+1)[:size]
			stream := frame(opText, payload)
			for i := 1; i < min(len(stream), 20); i++ {
				c := dialSim(t, n, addr).upgraded()
				c.send(stream[:i])
				idle(t, n)
				c.send(stream[i:])
				c.expect(opText, payload)
			}
			if size > 1000 {
				return
			}
			c := dialSim(t, n, addr).upgraded()
			for i := range len(stream) {
				c.send(stream[i : i+1])
				idle(t, n)
			}
			c.expect(opText, payload)
		})
	}
}

// TestEmptyMessages: "Empty text and empty binary => echoed empty".
func TestEmptyMessages(t *testing.T) {
	t.Parallel()
	onTransports(t, testEmptyMessages)
}

func testEmptyMessages(t *testing.T, serve serving) {
	t.Parallel()
	addr, _ := serve(t, nil)
	c := dial(t, addr).upgraded()
	c.send(frame(opText, "") + frame(opBinary, "") + fragment(opText, "") + frame(opContinuation, ""))
	c.expect(opText, "")
	c.expect(opBinary, "")
	c.expect(opText, "")
}

// TestMasks: "mask 0, every alignment 0-15 x length 0-64 => equal to a plain
// reference": the frames lie at every alignment of the read buffer.
func TestMasks(t *testing.T) {
	t.Parallel()
	onTransports(t, testMasks)
}

func testMasks(t *testing.T, serve serving) {
	t.Parallel()
	addr, _ := serve(t, nil)
	c := dial(t, addr).upgraded()
	for _, mask := range []uint32{0, 0xffffffff, 0x01020304, 0x80000000} {
		for shift := range 16 {
			stream := frame(opBinary, strings.Repeat("s", shift))
			for length := range 65 {
				stream += maskedBy(mask, strings.Repeat("reference", 8)[:length])
			}
			c.send(stream)
			c.expect(opBinary, strings.Repeat("s", shift))
			for length := range 65 {
				c.expect(opBinary, strings.Repeat("reference", 8)[:length])
			}
		}
	}
}

// maskedBy is a binary frame with the given mask.
func maskedBy(mask uint32, payload string) string {
	b := lengthBytes(fin|opBinary, 0x80, uint64(len(payload)))
	b = binary.BigEndian.AppendUint32(b, mask)
	for i := range len(payload) {
		b = append(b, payload[i]^byte(mask>>(24-8*(i%4))))
	}
	return string(b)
}
