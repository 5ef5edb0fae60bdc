package compare

import (
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/load"
	wsserver "github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// TestFiguresOfSlices: of each scenario that is loaded in slices, a slice tells all the
// figures that matter.
func TestFiguresOfSlices(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are read on Linux only")
	}
	program := filepath.Join(t.TempDir(), "millbench")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/millbench").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cert, err := newCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plain, secured := serveEcho(t, nil), serveEcho(t, &cert)
	sliced := 0
	for _, sc := range scenarios {
		sc.load = fewer(sc.load)
		to := target{host: host, port: plain, path: "/", pid: os.Getpid()}
		if sc.scheme() == "wss" {
			to.port = secured
		}
		argv := millbench{program}.slices(sc, to)
		if argv == nil {
			continue
		}
		sliced++
		t.Run(sc.name, func(t *testing.T) {
			figures := sliceOf(t, argv)
			for _, name := range sc.figures {
				if figures[name] <= 0 {
					t.Errorf("%s is not known, of %v", name, figures)
				}
			}
		})
	}
	if sliced < 12 {
		t.Errorf("%d scenarios are loaded in slices", sliced)
	}
}

// fewer is a load with 20 connections at most.
func fewer(load []string) []string {
	load = slices.Clone(load)
	if at := slices.Index(load, "--connections"); at >= 0 {
		load[at+1] = "20"
	}
	return load
}

// sliceOf gives the figures of the second slice of a client.
func sliceOf(t *testing.T, argv []string) map[string]float64 {
	t.Helper()
	c, err := startSlicer(argv)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	got, err := c.answer(t.Context())
	for range 2 {
		if err == nil {
			got, err = c.order(t.Context(), load.Order{Measure: max(100*time.Millisecond, fits*got.P99)})
		}
	}
	if err == nil {
		err = trouble(got.Result)
	}
	if err != nil {
		t.Fatalf("%v: %v", argv, err)
	}
	return figuresOf(got.Result).figures
}

// serveEcho serves all that scenarios need of an echo, over TLS if there is a
// certificate, until the test ends.
func serveEcho(t *testing.T, cert *certificate) (port string) {
	t.Helper()
	srv := &wsserver.Server{
		Handler: wsserver.MessageFunc(func(c *wsserver.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) }), // Close tells
		Deflate: &wsserver.Deflate{ServerTakeover: true, ClientTakeover: true},
		Logger:  slog.New(slog.DiscardHandler),
	}
	ln, err := srv.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		if cert != nil {
			served <- srv.ServeTLS(ln, cert.file, cert.key)
			return
		}
		served <- srv.Serve(ln)
	}()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		<-served
	})
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
