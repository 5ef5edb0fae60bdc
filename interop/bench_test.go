package interop_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/bench"
)

// TestBenchGorilla loads an echo server that is not ours, over TLS and with what
// compression it agrees to.
func TestBenchGorilla(t *testing.T) {
	upgrader := websocket.Upgrader{EnableCompression: true}
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for {
			op, payload, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(op, payload) != nil {
				return // the load has ended, or tells
			}
		}
	}))
	defer web.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, deflate := range []string{bench.DeflateOff, bench.DeflateOn, bench.DeflateTakeover} {
		t.Run(deflate, func(t *testing.T) {
			result, err := bench.Run(t.Context(), bench.Target{
				URL: "wss" + strings.TrimPrefix(web.URL, "https") + "/", CAFile: ca, Deflate: deflate, PID: -1,
			}, bench.Echo{InFlight: 4, Load: bench.Load{
				Connections: bench.Connections{Count: 10},
				Messages:    bench.Messages{MinSize: 1, MaxSize: 20_000},
				Warmup:      -1, Duration: 300 * time.Millisecond,
				Client: bench.Client{Timeout: patience},
			}})
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Troubles) > 0 || result.Opened != 10 || result.Count == 0 {
				t.Errorf("%d opened, %d messages, troubles %+v", result.Opened, result.Count, result.Troubles)
			}
		})
	}
}
