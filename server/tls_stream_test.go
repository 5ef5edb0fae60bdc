package server_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/millrace/millrace/poller/simnet"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// Content types and a message type of RFC 8446 sections 4 and 5.1.
const (
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
	keyUpdate     = 24
)

// sealer makes a client's TLS 1.3 records, also those that crypto/tls never
// sends (RFC 8446 sections 5.2 and 7.3).
type sealer struct {
	t      testing.TB
	conn   net.Conn // below TLS
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// openSealed upgrades a connection over TLS, whose records are then made by the
// sealer; what comes back is the client's to read.
func openSealed(t testing.TB, conn net.Conn) (*client, *sealer) {
	t.Helper()
	var keys strings.Builder
	config := clientTLS()
	config.KeyLogWriter = &keys
	c := newClient(t, tls.Client(conn, config)).upgraded()
	if suite := c.Conn.(*tls.Conn).ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("the sealer knows AES-128-GCM only, this machine prefers %s", tls.CipherSuiteName(suite))
	}
	s := &sealer{t: t, conn: conn}
	for line := range strings.Lines(keys.String()) {
		if fields := strings.Fields(line); fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			s.secret, _ = hex.DecodeString(fields[2]) // nil fails below
		}
	}
	s.rekey()
	s.seq = 1 // the upgrade request
	return c, s
}

func (s *sealer) expand(label string, length int) []byte {
	s.t.Helper()
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label...)
	out, err := hkdf.Expand(sha256.New, s.secret, string(append(info, 0)), length)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *sealer) rekey() {
	block, err := aes.NewCipher(s.expand("key", 16))
	if err != nil {
		s.t.Fatal(err)
	}
	s.aead, _ = cipher.NewGCM(block) // of AES it does not fail
	s.iv, s.seq = s.expand("iv", 12), 0
}

// record is one encrypted record.
func (s *sealer) record(kind byte, text string) string {
	nonce := append([]byte(nil), s.iv...)
	for i, b := range binary.BigEndian.AppendUint64(nil, s.seq) {
		nonce[4+i] ^= b
	}
	s.seq++
	header := binary.BigEndian.AppendUint16([]byte{typeData, 3, 3}, uint16(len(text)+1+16))
	return string(header) + string(s.aead.Seal(nil, nonce, append([]byte(text), kind), header))
}

// update is a key update, in as many records as there are ends of pieces.
func (s *sealer) update(answer byte, ends ...int) (records []string) {
	message := string([]byte{keyUpdate, 0, 0, 1, answer})
	start := 0
	for _, end := range append(ends, len(message)) {
		records = append(records, s.record(typeHandshake, message[start:end]))
		start = end
	}
	s.secret = s.expand("traffic upd", 32)
	s.rekey()
	return records
}

func (s *sealer) send(records ...string) {
	s.t.Helper()
	if _, err := io.WriteString(s.conn, strings.Join(records, "")); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

// sealedOn is openSealed on a network in memory.
func sealedOn(t testing.TB, n *simnet.Network, addr string) (*client, *sealer) {
	t.Helper()
	conn, err := n.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	return openSealed(t, conn)
}

// TestTLSKeyUpdate: keys change in the midst of messages, with an answer and
// without, whole and in pieces.
func TestTLSKeyUpdate(t *testing.T) {
	t.Parallel()
	n, addr, _ := startTLSSim(t, simnet.Config{}, nil)
	c, s := sealedOn(t, n, addr)
	echoed := 0
	echo := func() {
		t.Helper()
		echoed++
		text := frame(opText, fmt.Sprint("message ", echoed))
		s.send(s.record(typeData, text[:5]), s.record(typeData, text[5:]))
		c.expect(opText, fmt.Sprint("message ", echoed))
	}
	for _, answer := range []byte{0, 1} {
		s.send(s.update(answer)...)
		echo()
		s.send(append(s.update(answer), s.update(answer)...)...)
		echo()
		for end := 1; end < 5; end++ {
			for _, piece := range s.update(answer, end) {
				s.send(piece)
				idle(t, n)
			}
			echo()
			s.send(append(s.update(answer, 1, 2, 3, 4), s.record(typeData, frame(opPing, "behind")))...)
			c.expect(opPong, "behind")
		}
	}
}

// TestTLSBadRecords: what is no right record ends the connection with an alert
// that the client gets to read, as soon as it can be seen.
func TestTLSBadRecords(t *testing.T) {
	t.Parallel()
	broken := func(s *sealer) string {
		r := []byte(s.record(typeData, frame(opText, "x")))
		r[len(r)-1] ^= 1
		return string(r)
	}
	for name, test := range map[string]struct {
		records func(*sealer) string
		alert   string
	}{
		"bad MAC":                   {broken, "bad record MAC"},
		"garbage":                   {func(*sealer) string { return "garbage, not a record" }, "protocol version"},
		"plain HTTP":                {func(*sealer) string { return get("/") }, "protocol version"},
		"another version":           {func(*sealer) string { return "\x17\x03\x01\x00\x20" + strings.Repeat("x", 32) }, "protocol version"},
		"too long":                  {func(*sealer) string { return "\x17\x03\x03\x50\x00" }, "record overflow"},
		"not encrypted":             {func(*sealer) string { return "\x16\x03\x03\x00\x05\x18\x00\x00\x01\x00" }, ""},
		"data within a key update":  {func(s *sealer) string { return s.update(0, 2)[0] + s.record(typeData, "x") }, ""},
		"key update of what":        {func(s *sealer) string { return s.record(typeHandshake, "\x18\x00\x00\x01\x07") }, ""},
		"a second ClientHello":      {func(s *sealer) string { return s.record(typeHandshake, "\x01\x00\x00\x02\x03\x03") }, ""},
		"an endless handshake":      {func(s *sealer) string { return s.record(typeHandshake, "\x18\xff\xff\xff") }, ""},
		"an unknown type":           {func(s *sealer) string { return s.record(99, "x") }, "unexpected message"},
		"key updates without end":   {func(s *sealer) string { return strings.Join(updates(s, 40), "") }, ""},
		"empty records without end": {func(s *sealer) string { return strings.Repeat(s.record(typeData, ""), 1) + empties(s, 40) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			causes := make(chan *ws.CloseError, 1)
			n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = handler{close: closeCause(causes)} })
			c, s := sealedOn(t, n, addr)
			s.send(test.records(s))
			_, err := io.Copy(io.Discard, c.r)
			if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), test.alert) {
				t.Errorf("%v, want an alert: %s", err, test.alert)
			}
			if cause := <-causes; cause.Code != ws.CodeAbnormal {
				t.Errorf("closed with %v, want 1006", cause)
			}
			_ = c.Close()
			eventuallyOn(t, n, "no connection", func() bool { return srv.Stats().Open == 0 })
		})
	}
}

func updates(s *sealer, n int) (all []string) {
	for range n {
		all = append(all, s.update(0)...)
	}
	return all
}

func empties(s *sealer, n int) (all string) {
	for range n {
		all += s.record(typeData, "")
	}
	return all
}

// TestTLSPeerAlerts: a peer's alerts are the end of the connection.
func TestTLSPeerAlerts(t *testing.T) {
	t.Parallel()
	for alert, says := range map[string]string{"\x01\x00": "without a close frame", "\x02\x2a": "bad certificate"} {
		causes := make(chan error, 1)
		n, addr, _ := startTLSSim(t, simnet.Config{}, func(s *server.Server) {
			s.Handler = handler{close: func(_ *server.Conn, err error) { causes <- err }}
		})
		c, s := sealedOn(t, n, addr)
		s.send(s.record(typeAlert, alert), s.record(typeData, frame(opText, "behind it")))
		if err := <-causes; !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
		_ = c.Close()
	}
}

// TestTLSKeyUpdateFlood: a peer that asks for one answer after the other and reads
// none is cut before they take much memory.
func TestTLSKeyUpdateFlood(t *testing.T) {
	t.Parallel()
	n, addr, srv := startTLSSim(t, simnet.Config{SendBuffer: 4000}, nil)
	_, s := sealedOn(t, n, addr)
	pong := frame(opPong, "")
	go func() {
		for {
			records := append(s.update(1), s.record(typeData, pong))
			if _, err := io.WriteString(s.conn, strings.Join(records, "")); err != nil {
				return // cut
			}
		}
	}()
	eventually(t, "it is not read any more", func() bool { return srv.Stats().Paused == 1 })
	if waits := srv.Stats().Backlog; waits > 256<<10 {
		t.Errorf("%d bytes wait", waits)
	}
	eventuallyOn(t, n, "no connection", func() bool { return srv.Stats().Open == 0 })
}

// TestTLSTruncated ends the stream within a record, at each of its bytes.
func TestTLSTruncated(t *testing.T) {
	t.Parallel()
	causes := make(chan *ws.CloseError, 1)
	n, addr, srv := startTLSSim(t, simnet.Config{}, func(s *server.Server) { s.Handler = handler{close: closeCause(causes)} })
	for cut := 0; ; cut++ {
		c, s := sealedOn(t, n, addr)
		record := s.record(typeData, frame(opText, "x"))
		s.send(record[:min(cut, len(record))])
		if err := s.conn.(*simnet.Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if cause := <-causes; cause.Code != ws.CodeAbnormal {
			t.Errorf("cut at %d: %v", cut, cause)
		}
		c.expectEOF()
		if _ = c.Close(); cut > len(record) {
			break
		}
	}
	eventuallyOn(t, n, "no connection", func() bool { return srv.Stats().Open == 0 })
}
