package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/examples/internal/program"
	"github.com/millrace/millrace/server/servertest"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// receive gives the next price.
func receive(t *testing.T, c *program.Client) price {
	t.Helper()
	var got price
	if err := json.Unmarshal([]byte(c.Receive()), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestPrices: many clients, each gets what it asked for, again and again, and nothing else.
func TestPrices(t *testing.T) {
	p := program.Start(t, "-every", "5ms")
	clients := make([]*program.Client, 100)
	for i := range clients {
		clients[i] = p.Dial("/?symbols="+symbols[i%len(symbols)], nil)
	}
	for i, c := range clients {
		for last := -1; last < 3; {
			got := receive(t, c)
			if got.Symbol != symbols[i%len(symbols)] || got.Cents <= 0 {
				t.Fatalf("client %d received %+v", i, got)
			}
			last = max(last, got.N)
		}
	}

	clients[0].SendText(`{"symbols":["JOLT"]}`)
	for receive(t, clients[0]).Symbol != "JOLT" {
	}
	clients[1].SendText(`{"symbols":["GOLD"]}`)
	for !strings.Contains(clients[1].Receive(), "no such symbol") {
	}
	p.ExpectRefusal("/?symbols=GOLD", nil, http.StatusBadRequest)

	resp, err := http.Get("http://" + p.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), `millrace_connections{state="open"} 100`) {
		t.Errorf("%v in the metrics:\n%s", err, text)
	}

	p.Signal()
	for _, c := range clients {
		c.ExpectClose(websocket.CloseGoingAway)
	}
	p.ExpectEnd()
}

// TestSlow: who reads nothing for long stays connected, misses prices, and knows the
// latest ones when he has caught up.
func TestSlow(t *testing.T) {
	m := newMarket()
	s := servertest.Start(t, newServer("", m))
	slow := s.Connect("/")
	for s.Stats().Dropped == 0 {
		m.round(t.Context(), s.Server)
	}
	known := map[string]int{}
	for range 100_000 {
		behind := false
		for _, want := range m.prices {
			behind = behind || known[want.Symbol] < want.N
		}
		if !behind {
			return
		}
		var got price
		slow.ReceiveJSON(&got)
		known[got.Symbol] = max(known[got.Symbol], got.N)
	}
	t.Errorf("the slow client knows %v, and prices are %v", known, m.prices)
}
