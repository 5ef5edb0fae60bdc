package natstest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
)

// tornBlocks are blocks of headers that a server stores, and behind which nobody can read what it has put there.
var tornBlocks = map[string]string{
	"no colon":      "NATS/1.0\r\nno header\r\n\r\n",
	"no version":    "HTTP/1.1\r\nA: b\r\n\r\n",
	"empty line":    "NATS/1.0\r\nA: b\r\n\r\nC: d\r\n\r\n",
	"forged end":    "NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 9\r\n\r\nA: b\r\n\r\n",
	"forged status": "NATS/1.0 408 Bad Request\r\n\r\nA: b\r\n\r\n",
	"forged number": "NATS/1.0\r\nNats-Subject: TO.kept.b\r\nNats-Sequence: 999999\r\nNats-Last-Sequence: 999998\r\n\r\nA: b\r\n\r\n",
}

// publishRaw publishes a message with a block of headers as it is, and waits for the server to have it.
func publishRaw(t *testing.T, s *natsServer, subject, block string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c, "CONNECT {\"headers\":true,\"verbose\":false}\r\nHPUB %s %d %d\r\n%storn\r\nPING\r\n", subject, len(block), len(block)+4, block); err != nil {
		t.Fatal(err)
	}
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "-ERR") {
			t.Fatal(line, err)
		}
		if strings.HasPrefix(line, "PONG") {
			return
		}
	}
}

// TestTornMissed: a node that catches up over messages whose headers can not be read gets all others, also of topics on which nothing comes
// any more, and tells that some are missing.
func TestTornMissed(t *testing.T) {
	t.Parallel()
	for name, block := range tornBlocks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p := startProxy(t, s.options.Port)
			a, b := startNode(t, streamed(s.url(), "TO")), startNode(t, streamed(p.url(), "TO"))
			b.want("kept/a", "kept/quiet", "kept/last")
			a.send("kept/a", "0")
			b.expect("kept/a", "0")
			p.freeze()
			p.cut()
			a.send("kept/quiet", "before")
			publishRaw(t, s, "TO.kept.a", block)
			a.send("kept/a", "2")
			publishRaw(t, s, "TO.kept.a", block)
			publishRaw(t, s, "TO.kept.a", block)
			publishRaw(t, s, "TO.kept.a", block)
			for range 3 {
				a.send("kept/a", "6")
				publishRaw(t, s, "TO.kept.a", block)
			}
			a.send("kept/quiet", "behind")
			p.thaw()
			b.expect("kept/quiet", "before", "behind")
			b.expect("kept/a", "0", "2", "6", "6", "6")
			for _, between := range [][2]string{{"0", "2"}, {"2", "6"}} {
				if !b.tells("kept/a", between[0], between[1]) {
					t.Errorf("between %q: %v", between, b.events)
				}
			}
			publishRaw(t, s, "TO.kept.last", block) // and nothing behind it
			eventually(t, "the one that comes to be told", func() bool { return b.misses("kept/last") > b.misses("kept/quiet") })
			a.send("kept/a", "7")
			b.expect("kept/a", "0", "2", "6", "6", "6", "7")
		})
	}
}

// TestTornHistory: of a past that has messages whose headers can not be read, or ends with one, there is the rest, and it is not told to be
// complete. Behind them it is.
func TestTornHistory(t *testing.T) {
	t.Parallel()
	for name, block := range tornBlocks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			n := startNode(t, streamed(s.url(), "TO"))
			n.want("kept/t", "kept/end", "kept/only")
			before := n.send("kept/t", "0").Position
			n.send("kept/t", "1")
			n.send("kept/end", "1")
			publishRaw(t, s, "TO.kept.t", block)
			publishRaw(t, s, "TO.kept.t", block)
			at := n.send("kept/t", "4").Position
			n.send("kept/t", "5")
			publishRaw(t, s, "TO.kept.end", block)
			publishRaw(t, s, "TO.kept.only", block)
			torn := pubsub.Position{Epoch: at.Epoch, Number: at.Number - 1}
			for _, tt := range []struct {
				topic    string
				since    pubsub.Position
				want     string
				complete bool
			}{
				{"kept/t", pubsub.Position{}, "0 1 4 5", false}, {"kept/t", before, "1 4 5", false}, {"kept/t", torn, "4 5", true}, {"kept/t", at, "5", true},
				{"kept/end", pubsub.Position{}, "1", false}, {"kept/end", before, "1", false}, {"kept/end", at, "", false},
				{"kept/only", pubsub.Position{}, "", false}, {"kept/only", before, "", false},
			} {
				got, complete := history(t, n, tt.topic, tt.since)
				if got != tt.want || complete != tt.complete {
					t.Errorf("%s since %v: %q, complete: %v, want %q", tt.topic, tt.since, got, complete, tt.want)
				}
			}
			for most := 1; most <= 6; most++ {
				h, err := n.History(t.Context(), "kept/t", pubsub.Position{}, pubsub.HistoryBound{Messages: most, Bytes: 1 << 20, Last: true})
				if err != nil || len(h.Messages) == 0 || string(h.Messages[len(h.Messages)-1].Payload) != "5" || most > 2 && h.From != torn {
					t.Errorf("the last %d: %d messages, from %v, want %v, %v", most, len(h.Messages), h.From, torn, err)
				}
			}
			if n.misses("kept/t") == 0 || n.misses("kept/end") == 0 || n.misses("kept/only") == 0 {
				t.Errorf("told: %v", n.missed)
			}
			n.expect("kept/t", "0", "1", "4", "5")
			if s := n.Stats(); s.Dropped != 0 || s.Lost != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestTornCore: what no stream has comes without what its headers say.
func TestTornCore(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	n := startNode(t, nats.Options{URLs: []string{s.url()}})
	n.want("t")
	for _, block := range tornBlocks {
		publishRaw(t, s, "t", block)
	}
	eventually(t, "all", func() bool { return len(n.texts("t")) == len(tornBlocks) })
}
