package simnet_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// netListener gives net/http the connections of a simnet listener.
type netListener struct {
	net      *simnet.Network
	poller   poller.Poller
	listener poller.Listener
}

func (l *netListener) Addr() net.Addr { return l.listener.Addr() }

func (l *netListener) Accept() (net.Conn, error) {
	for events := make([]poller.Event, 1); ; {
		fd, _, err := l.listener.Accept()
		if err == nil {
			return l.net.Detach(fd)
		}
		if !errors.Is(err, poller.ErrAgain) {
			return nil, err
		}
		if _, err := l.poller.Wait(events, -1); err != nil {
			return nil, err
		}
	}
}

func (l *netListener) Close() error {
	err := errors.Join(l.poller.Remove(l.listener.FD()), l.listener.Close())
	l.poller.Wake()
	return err
}

// TestHTTP has net/http on both ends.
func TestHTTP(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p, l := listen(t, n)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("body: %v", err)
		}
		w.Write(body)
	})}
	served := make(chan error)
	go func() { served <- server.Serve(&netListener{n, p, l}) }()

	transport := &http.Transport{DialContext: n.DialContext}
	web := &http.Client{Transport: transport, Timeout: patience}
	for range 3 {
		body := pattern(200_000)
		response, err := web.Post("http://"+l.Addr().String(), "text/plain", &trickle{p: body})
		must(t, err)
		got, err := io.ReadAll(response.Body)
		must(t, err)
		if string(got) != string(body) {
			t.Fatalf("%d bytes came back, not the %d sent", len(got), len(body))
		}
		response.Body.Close()
	}
	transport.CloseIdleConnections()
	server.Close()
	<-served
	must(t, p.Close())
	for deadline := time.Now().Add(patience); n.OpenFDs() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // net/http closes a moment later
	}
	if open, violations := n.OpenFDs(), n.Violations(); open != 0 || len(violations) != 0 {
		t.Errorf("%d descriptors open, violations %q", open, violations)
	}
}

// trickle reads p once, a little at a time.
type trickle struct{ p []byte }

func (r *trickle) Read(p []byte) (int, error) {
	if len(r.p) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 3000)], r.p)
	r.p = r.p[n:]
	return n, nil
}
