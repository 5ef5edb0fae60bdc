package server_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/poller/simnet"
)

// peer is one connection of TestChaos. The network may fail it at any time, so
// its methods give errors; what must never happen, a byte that is not its own,
// fails the test.
type peer struct {
	*chaos
	random *rand.Rand
	raw    *simnet.Conn
	conn   net.Conn // raw, or TLS on it
	r      *bufio.Reader
	tag    string // of its own: all that it gets has it

	deflated, takeover bool   // the server compresses, with its context
	seen               string // in compressed messages
	sent, echoed       int    // messages
	closed             bool   // a close frame has come
}

var (
	errForeign = errors.New("what came is not this connection's")
	errRefused = errors.New("refused")
)

// foreign fails the test.
func (p *peer) foreign(format string, args ...any) error {
	p.t.Errorf("%s: "+format, append([]any{p.tag}, args...)...)
	return errForeign
}

func (p *peer) write(text string) error {
	_, err := io.WriteString(p.conn, text)
	return err
}

// request is an upgrade request, whose path is the tag.
func (p *peer) request() string {
	lines := upgradeLines
	if p.random.IntN(2) == 0 {
		lines += "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"
	}
	return "GET /" + p.tag + " HTTP/1.1\r\n" + lines + "\r\n"
}

// upgrade asks and reads the answer.
func (p *peer) upgrade() error {
	if err := p.write(p.request()); err != nil {
		return err
	}
	resp, err := http.ReadResponse(p.r, nil)
	if err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
		answer := resp.Header.Get("Sec-WebSocket-Extensions")
		p.deflated = answer != ""
		p.takeover = p.deflated && !strings.Contains(answer, "server_no_context_takeover")
		return p.expect(1)
	case http.StatusServiceUnavailable:
		return errRefused
	case http.StatusBadRequest:
		if p.secure != nil && p.conn == p.raw {
			return errRefused // plain HTTP on a TLS port
		}
	}
	return p.foreign("status %d", resp.StatusCode)
}

// message is a text message with the tag, compressed where that was agreed upon,
// now and then.
func (p *peer) message(command string) string {
	p.sent++
	text := fmt.Sprintf("%s|%d|%s|%s", p.tag, p.sent, command, strings.Repeat(p.tag, p.random.IntN(300)))
	if !p.deflated || p.random.IntN(2) == 0 {
		return frame(opText, text)
	}
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 1) // the level is right, and a buffer takes all
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	return frame(opText|rsv1, strings.TrimSuffix(b.String(), flushEnd))
}

// frame reads one frame.
func (p *peer) frame() (first byte, payload []byte, err error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(p.r, head[:2]); err != nil {
		return 0, nil, err
	}
	first, length := head[0], uint64(head[1])
	size := map[uint64]int{126: 2, 127: 8}[length]
	if _, err := io.ReadFull(p.r, head[:size]); err != nil {
		return 0, nil, err
	}
	switch size {
	case 2:
		length = uint64(binary.BigEndian.Uint16(head))
	case 8:
		length = binary.BigEndian.Uint64(head)
	}
	if first&(fin|0x30) != fin || length > 1<<20 || p.closed {
		return 0, nil, p.foreign("frame %x of %d bytes, behind a close frame: %v", first, length, p.closed)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(p.r, payload)
	return first, payload, err
}

// expect reads until n messages have come that answer one of the client's, or its
// opening.
func (p *peer) expect(n int) error {
	for n > 0 {
		first, payload, err := p.frame()
		if err != nil {
			return err
		}
		switch first & 0xf {
		case opText:
			answer, err := p.check(first&rsv1 != 0, payload)
			if err != nil {
				return err
			}
			if answer {
				n--
			}
		case opPing:
			if err := p.write(frame(opPong, string(payload))); err != nil {
				return err
			}
		case opPong:
			if !bytes.HasPrefix(payload, []byte(p.tag)) {
				return p.foreign("pong %q", payload)
			}
		case opClose:
			return p.checkClose(payload)
		default:
			return p.foreign("frame %x", first)
		}
	}
	return nil
}

// check checks a message: its own tag and nothing of others, answers in order.
func (p *peer) check(compressed bool, payload []byte) (answer bool, err error) {
	if compressed {
		if payload, err = p.inflate(payload); err != nil {
			return false, p.foreign("inflating: %v", err)
		}
	}
	parts := strings.SplitN(string(payload), "|", 4)
	if len(parts) != 4 || parts[0] != p.tag || strings.Trim(strings.ReplaceAll(parts[3], p.tag, ""), ".") != "" {
		return false, p.foreign("message %.200q", payload)
	}
	if parts[2] == "ghost" {
		return false, nil
	}
	if want := fmt.Sprint(p.echoed); parts[1] != want {
		return false, p.foreign("answer %s, want %s", parts[1], want)
	}
	p.echoed++
	return true, nil
}

func (p *peer) inflate(payload []byte) ([]byte, error) {
	r := flate.NewReaderDict(strings.NewReader(string(payload)+flushEnd+"\x01"+flushEnd), []byte(p.seen))
	all, err := io.ReadAll(r)
	if p.takeover {
		p.seen += string(all)
		p.seen = p.seen[max(0, len(p.seen)-1<<15):]
	}
	return all, err
}

func (p *peer) checkClose(payload []byte) error {
	p.closed = true
	if len(payload) < 2 {
		return io.EOF
	}
	switch code := binary.BigEndian.Uint16(payload); code {
	case 1000, 1001, 1002, 1007, 1008, 1009, 1011, 1012:
		_ = p.write(frame(opClose, string(payload[:2]))) // it may be too late
		_, _, err := p.frame()                           // nothing may follow
		return err
	default:
		return p.foreign("close code %d", code)
	}
}

// live does one of the things that peers do.
func (p *peer) live() error {
	kinds := []func() error{
		p.talk, p.talk, p.talk, p.pipeline, p.command("hold"), p.command("panic"), p.command("close"), p.command("burst"), p.command("pause"),
		p.badFrame, p.flood, p.neverReads, p.vanish, p.stream, p.stream,
	}
	if p.raw != nil { // else these meet net/http only
		kinds = append(kinds, p.plain, p.silent, p.halfHead, p.garbage)
	}
	return kinds[p.random.IntN(len(kinds))]()
}

func (p *peer) talk() error {
	err := p.upgrade()
	for i := 0; err == nil && i < 20; i++ {
		if err = p.write(p.message("echo")); err == nil {
			err = p.expect(1)
		}
	}
	if err == nil {
		err = p.write(frame(opClose, closePayload(1000, "")))
	}
	return err
}

// pipeline sends more than it reads meanwhile, in pieces.
func (p *peer) pipeline() error {
	if err := p.upgrade(); err != nil {
		return err
	}
	var all strings.Builder
	for range 10 {
		all.WriteString(p.message("echo"))
		all.WriteString(frame(opPing, p.tag))
	}
	go func(w io.Writer, text string) { // ends with the connection
		for len(text) > 0 {
			n := min(len(text), 700)
			if _, err := io.WriteString(w, text[:n]); err != nil {
				return
			}
			text = text[n:]
		}
	}(p.conn, all.String())
	for range 10 {
		if err := p.expectQuietly(1); err != nil {
			return err
		}
	}
	return nil
}

// expectQuietly is expect beside another that writes: pings go unanswered.
func (p *peer) expectQuietly(n int) error {
	conn := p.conn
	p.conn = mute{conn}
	err := p.expect(n)
	p.conn = conn
	return err
}

// writeBroken is a net.Conn whose writes go nowhere.
type mute struct{ net.Conn }

func (mute) Write(b []byte) (int, error) { return len(b), nil }

// command makes the handler do something, amid other messages.
func (p *peer) command(name string) func() error {
	return func() error {
		err := p.upgrade()
		if err == nil {
			err = p.write(p.message("echo") + p.message(name) + p.message("echo"))
		}
		if err == nil {
			err = p.expect(3)
		}
		return err
	}
}

// plain asks by plain HTTP, twice on one connection.
func (p *peer) plain() error {
	for range 2 {
		if err := p.write(get("/" + p.tag)); err != nil {
			return err
		}
		resp, err := http.ReadResponse(p.r, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode == http.StatusServiceUnavailable || p.secure != nil && p.conn == p.raw {
			return err
		}
		if resp.StatusCode != 200 || string(body) != "GET /"+p.tag+" " {
			return p.foreign("status %d, body %q", resp.StatusCode, body)
		}
		if resp.Close {
			return nil
		}
	}
	return nil
}

func (p *peer) silent() error { return p.drainAll() }

func (p *peer) halfHead() error {
	request := p.request()
	if err := p.write(request[:p.random.IntN(len(request))]); err != nil {
		return err
	}
	return p.drainAll()
}

func (p *peer) garbage() error {
	b := make([]byte, 1+p.random.IntN(2000))
	for i := range b {
		b[i] = byte(p.random.Uint32())
	}
	if err := p.write(string(b)); err != nil {
		return err
	}
	return p.drainAll()
}

// badFrame breaks the protocol behind a good message, in one of many ways.
func (p *peer) badFrame() error {
	if err := p.upgrade(); err != nil {
		return err
	}
	bad := []string{
		"\x81\x00", rawFrame(0xb1, "reserved"), rawFrame(0x83, ""), frame(opContinuation, "first"), fragment(opPing, ""),
		frame(opText, "\xff"), frame(opClose, "\x00"), frame(opClose, closePayload(1005, "")), frame(opText, strings.Repeat("x", 70_000)),
		string(lengthBytes(fin|opText, 0x80, 1<<40)), frame(opText|rsv1, "no deflate at all"),
		strings.Repeat(fragment(opText, ""), 1) + strings.Repeat(fragment(opContinuation, ""), 1500),
	}
	if err := p.write(p.message("echo") + bad[p.random.IntN(len(bad))]); err != nil {
		return err
	}
	return p.expect(2)
}

// flood sends more than the rates allow, of small messages or of large ones.
func (p *peer) flood() error {
	if err := p.upgrade(); err != nil {
		return err
	}
	text := strings.Repeat(frame(opPing, p.tag), 2000)
	if p.random.IntN(2) == 0 {
		text = strings.Repeat(fragment(opBinary, "")+frame(opContinuation, strings.Repeat("x", 10_000)), 100)
	}
	go func(w io.Writer) { _, _ = io.WriteString(w, text) }(p.conn) // ends with the connection
	return p.expectQuietly(1)
}

// neverReads asks for more than it ever takes.
func (p *peer) neverReads() error {
	if err := p.upgrade(); err != nil {
		return err
	}
	_ = p.write(p.message("burst") + p.message("burst")) // it may be cut
	p.untilCut()
	return nil
}

// vanish leaves in the midst of something.
func (p *peer) vanish() error {
	if err := p.upgrade(); err != nil {
		return err
	}
	m := p.message("echo")
	_ = p.write(m + m[:p.random.IntN(len(m))]) // the same again, in part
	return nil
}

// drainAll reads to the end what may be a refusal.
func (p *peer) drainAll() error {
	_, err := io.Copy(io.Discard, p.r)
	return err
}

// untilCut waits until the server has closed the connection, or the test is over.
func (p *peer) untilCut() {
	if p.raw == nil {
		_ = p.write("") // a pipe's Write returns when the other end reads, or is closed
		return
	}
	for p.raw.ServerFD() >= 0 && p.ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}
