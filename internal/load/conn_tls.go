package load

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/poller"
)

// # TLS
//
// crypto/tls wants a connection that blocks while it shakes hands, and can do
// without one after that: a Read that answers with a temporary error leaves it as
// it was. So each handshake has a goroutine, which the loop feeds with what
// arrives, as many as Plan.Handshakes at once; when it is done, the loop itself
// reads and writes.

// wire is what a tls.Conn reads from and writes to: the connection's descriptor,
// by way of its loop.
type wire struct {
	loop *loop
	c    *conn
	tls  *tls.Conn

	mu          sync.Mutex // guards what follows; in established it is the loop's alone
	arrived     sync.Cond  // in or err
	in          []byte     // read from the descriptor, and not yet by tls
	err         error      // the connection is over
	established bool
}

// maxFlight bounds what a server may send before a handshake has taken it.
const maxFlight = 1 << 20

// errNoBytes is a temporary error: crypto/tls goes on when asked again.
var errNoBytes net.Error = noBytes{}

type noBytes struct{}

func (noBytes) Error() string   { return "bench: no bytes yet" }
func (noBytes) Timeout() bool   { return false }
func (noBytes) Temporary() bool { return true }

// tlsConfig is the plan's.
func (p *plan) tlsConfig(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, InsecureSkipVerify: p.Insecure, NextProtos: []string{"http/1.1"}}
	if p.Resume {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1) // one server, one session
	}
	if p.CAFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(p.CAFile)
	if err != nil {
		return nil, wrong("CAFile", "%v", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, wrong("CAFile", "%s has no certificate in PEM", p.CAFile)
	}
	return config, nil
}

// secure begins the TLS handshake of a connection that is made.
func (l *loop) secure(c *conn) {
	w := &wire{loop: l, c: c}
	w.arrived.L = &w.mu
	w.tls = tls.Client(w, l.target.tls)
	c.wire, c.state = w, securing
	go w.shakeHands() // ends with the handshake, or with the connection
}

func (w *wire) shakeHands() {
	err := w.tls.Handshake()
	w.loop.post(func() { w.loop.secured(w, err) })
}

// secured is called when a handshake is over, one way or the other.
func (l *loop) secured(w *wire, err error) {
	c := w.c
	if c.wire != w {
		return // the connection is over, too
	}
	if err != nil {
		l.tryAfterTLS(c, err)
		l.lose(c, "tls: %s", strings.TrimPrefix(cause(err).Error(), "tls: "))
		return
	}
	w.established = true
	l.meter.Secured++
	if l.meter.measures(l.engine.Now()) {
		l.meter.Handshakes++
	}
	if w.tls.ConnectionState().DidResume {
		l.meter.Resumed++
	}
	if l.request(c); c.state == upgrading {
		l.visit(c, l.slot(c)) // what came behind the handshake has no edge of its own
	}
}

// feed gives a handshake what has arrived.
func (l *loop) feed(c *conn) {
	for {
		n, err := l.engine.Read(int(c.fd), l.in)
		if err == poller.ErrAgain {
			return
		}
		w := c.wire
		w.mu.Lock()
		w.in = append(w.in, l.in[:n]...)
		size := len(w.in)
		w.err = err
		w.arrived.Signal()
		w.mu.Unlock()
		switch {
		case err != nil:
			return // the handshake will tell
		case size > maxFlight:
			l.lose(c, "tls: more than %d MiB in the handshake", maxFlight>>20)
			return
		}
	}
}

// cut ends what still waits for the connection.
func (w *wire) cut() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = net.ErrClosed
	w.arrived.Signal()
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.established && len(w.in) == 0 && w.err == nil {
		w.arrived.Wait()
	}
	switch {
	case len(w.in) > 0:
		n := copy(p, w.in)
		if w.in = w.in[n:]; len(w.in) == 0 {
			w.in = nil
		}
		return n, nil
	case w.err != nil:
		return 0, w.err
	}
	n, err := w.loop.engine.Read(int(w.c.fd), p)
	if err == poller.ErrAgain {
		err = errNoBytes
	}
	return n, err
}

// Write implements net.Conn: it takes everything, since crypto/tls does not
// survive a Write that fails. How it goes on the connection's state tells.
func (w *wire) Write(p []byte) (int, error) {
	if w.established {
		w.loop.writeRaw(w.c, p)
		return len(p), nil
	}
	flight := append([]byte(nil), p...)
	w.loop.post(func() {
		if w.c.wire == w {
			w.loop.writeRaw(w.c, flight)
		}
	})
	return len(p), nil
}

// The rest of net.Conn is not called, or of no use: the loop has the deadlines.

func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (w *wire) RemoteAddr() net.Addr             { return net.TCPAddrFromAddrPort(w.loop.target.address) }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// read reads what there is of the stream: the descriptor's, or what TLS makes of
// it, a record at a time.
func (l *loop) read(c *conn, p []byte) (int, error) {
	if c.wire == nil {
		return l.engine.Read(int(c.fd), p)
	}
	n, err := c.wire.tls.Read(p)
	if errors.Is(err, errNoBytes) {
		err = poller.ErrAgain
	}
	return n, err
}

// write writes to the stream.
func (l *loop) write(c *conn, b []byte) {
	if c.wire == nil {
		l.writeRaw(c, b)
		return
	}
	if _, err := c.wire.tls.Write(b); err != nil && c.state >= upgrading {
		l.lose(c, "tls: %s", strings.TrimPrefix(cause(err).Error(), "tls: "))
	}
}
