package interop_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	coderws "github.com/coder/websocket"
	gorillaws "github.com/gorilla/websocket"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// compressions are the servers that clients have to come to terms with.
var compressions = map[string]*server.Deflate{
	"each by itself": {},
	"takeover":       {ServerTakeover: true, ClientTakeover: true},
	"small windows":  {ServerTakeover: true, ClientTakeover: true, ServerMaxWindowBits: 10, ClientMaxWindowBits: 9},
	"level 9":        {ServerTakeover: true, ServerMaxWindowBits: 15, Level: 9, Threshold: -1},
}

// deflates runs a script's mode against each of the servers: want is how many
// cases it has.
func deflates(t *testing.T, command []string, want int) {
	for name, deflate := range compressions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, deflate)
			expectCases(t, script(t, append(command, p.url, "parameters")...), want)
			stats := p.srv.Stats()
			if stats.Inflated.Messages < uint64(want) || stats.Deflated.Messages < uint64(want) || stats.Deflated.Packed > stats.Deflated.Bytes/2 {
				t.Errorf("inflated %+v, deflated %+v", stats.Inflated, stats.Deflated)
			}
		})
	}
}

func TestPythonDeflate(t *testing.T) {
	needPython(t)
	deflates(t, []string{python, "python/deflate.py"}, 100)
}

func TestNodeDeflate(t *testing.T) {
	deflates(t, []string{needNode(t), "node/deflate.js"}, 100)
}

// replayBytes is how much a replayed case sends, by default; MILLRACE_REPLAY_BYTES
// sets it. Autobahn's own 1,000 messages of 128 KiB need 131072000.
const replayBytes = 150_000

// replay runs the messages of Autobahn's cases 12.* and 13.*: their sizes, fragments
// and offers, with contents of the same kinds. It is no run of the suite.
func replay(t *testing.T, cases int, command ...string) {
	t.Helper()
	t.Parallel()
	budget := replayBytes
	if text := os.Getenv("MILLRACE_REPLAY_BYTES"); text != "" {
		var err error
		if budget, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	p := startPeer(t, compressions["takeover"])
	expectCases(t, script(t, append(command, p.url, "replay", strconv.Itoa(budget))...), cases)
	stats := p.srv.Stats()
	t.Logf("inflated %+v, deflated %+v", stats.Inflated, stats.Deflated)
}

func TestAutobahnReplayInPython(t *testing.T) {
	needPython(t)
	replay(t, 5*18+7*18, python, "python/deflate.py")
}

func TestAutobahnReplayInNode(t *testing.T) {
	replay(t, 5*18+6*18, needNode(t), "node/deflate.js")
}

func needNode(t *testing.T) (node string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node: install Node.js")
	}
	if _, err := os.Stat("node/node_modules/ws"); err != nil {
		t.Skip("no npm package ws: run npm ci in interop/node")
	}
	return node
}

// dialGorillaDeflate is gorilla/websocket with compression, of which it does the
// kind without takeover.
func dialGorillaDeflate(url string) (client, error) {
	d := gorillaws.Dialer{EnableCompression: true, WriteBufferSize: 1000, HandshakeTimeout: patience}
	conn, _, err := d.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	conn.EnableWriteCompression(true)
	_ = conn.SetReadDeadline(time.Now().Add(patience)) // has no error
	return gorillaClient{conn}, nil
}

// dialCoderDeflate is coder/websocket with compression of a kind.
func dialCoderDeflate(mode coderws.CompressionMode) func(url string) (client, error) {
	return func(url string) (client, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		conn, _, err := coderws.Dial(ctx, url, &coderws.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			cancel()
			return nil, err
		}
		conn.SetReadLimit(-1)
		return coderClient{conn, ctx, cancel}, nil
	}
}

// TestGoDeflate: the libraries in Go compress, whole messages and fragments, and
// read what the server compresses.
func TestGoDeflate(t *testing.T) {
	for name, dial := range map[string]func(string) (client, error){
		"gorilla":                 dialGorillaDeflate,
		"coder, takeover":         dialCoderDeflate(coderws.CompressionContextTakeover),
		"coder, without takeover": dialCoderDeflate(coderws.CompressionNoContextTakeover),
	} {
		for kind, deflate := range compressions {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				p := startPeer(t, deflate)
				c, err := dial(p.url + "/echo")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(c.abandon)
				for i, size := range append(sizes, 3000, 20_000, 3000) {
					text := strings.Repeat(fmt.Sprintf("{%q: %d},", "ß", i%3), size/8)
					send(t, c, ws.Text, text[:size/9*9])
					expect(t, c, ws.Text, text[:size/9*9])
				}
				send(t, c, ws.Binary, strings.Repeat("a", 5000), strings.Repeat("b", 70_000), "c")
				expect(t, c, ws.Binary, strings.Repeat("a", 5000)+strings.Repeat("b", 70_000)+"c")
				if stats := p.srv.Stats(); stats.Inflated.Messages < 8 || stats.Deflated.Messages < 6 {
					t.Errorf("inflated %+v, deflated %+v", stats.Inflated, stats.Deflated)
				}
				if err := c.close(1000, ""); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
