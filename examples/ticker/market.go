package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

var symbols = []string{"ACME", "BOLT", "COGS", "DYNE", "ETCH", "FLUX", "GEAR", "HULL", "INIT", "JOLT"}

// filter is a connection's value: bit i is set if it wants the prices of symbols[i].
type filter uint64

var everything = filter(1)<<len(symbols) - 1

// price is what the server sends. N grows with each price of a symbol: one behind a
// higher N is old news, which happens where a newcomer is shown the last price while
// the next one is on its way.
type price struct {
	Symbol string `json:"symbol"`
	Cents  int    `json:"cents"`
	N      int    `json:"n"`
}

// wish is what a client sends.
type wish struct {
	Symbols []string `json:"symbols"`
}

// market makes prices, and is the handler of all connections. It keeps no list of
// them: the server has one.
type market struct {
	prices []price                       // the trading goroutine's
	latest []atomic.Pointer[ws.Prepared] // of each symbol; anybody reads it
}

func newMarket() *market {
	m := &market{prices: make([]price, len(symbols)), latest: make([]atomic.Pointer[ws.Prepared], len(symbols))}
	for i, s := range symbols {
		m.prices[i] = price{Symbol: s, Cents: 10_000}
		m.frame(i)
	}
	return m
}

// trade makes prices until ctx is done.
func (m *market) trade(ctx context.Context, srv *server.Server, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			m.round(ctx, srv)
		}
	}
}

// round moves some prices and tells everybody who wants to know.
func (m *market) round(ctx context.Context, srv *server.Server) {
	var moved filter
	for i := range m.prices {
		if rand.IntN(3) == 0 {
			m.prices[i].Cents = max(1, m.prices[i].Cents+rand.IntN(101)-50)
			m.prices[i].N++
			m.frame(i)
			moved |= 1 << i
		}
	}
	// Each calls this here, on the market's own goroutine. Its error is ctx's, which
	// trade sees.
	_ = srv.Each(ctx, func(c *server.Conn) bool {
		wanted, _ := server.Value[filter](c)
		m.send(c, wanted&moved)
		return true
	})
}

// frame makes the message of a symbol's price, once for all.
func (m *market) frame(i int) {
	text, err := json.Marshal(m.prices[i])
	if err != nil {
		log.Panicf("ticker: %v", err) // there is no price that JSON can not say
	}
	m.latest[i].Store(ws.Prepare(ws.Text, text))
}

// send sends the latest prices of these symbols. The error may be left alone: where
// the queue is full the price is dropped and counted (ErrQueueFull), and Drained sends
// a newer one later; else the connection is closing.
func (m *market) send(c *server.Conn, these filter) {
	for i := range symbols {
		if these&(1<<i) != 0 {
			_ = c.SendPrepared(m.latest[i].Load())
		}
	}
}

// admit reads the filter from the query: /?symbols=ACME,BOLT, all without.
func (m *market) admit(r *ws.Request) (server.Accept, error) {
	wanted := everything
	if text := r.Query().Get("symbols"); text != "" {
		var err error
		if wanted, err = parseFilter(strings.Split(text, ",")); err != nil {
			return server.Accept{}, &ws.Refusal{Status: http.StatusBadRequest, Reason: err.Error()}
		}
	}
	return server.Accept{Value: wanted}, nil
}

func parseFilter(names []string) (filter, error) {
	var f filter
	for _, name := range names {
		i := slices.Index(symbols, name)
		if i < 0 {
			return 0, fmt.Errorf("no such symbol: %q", name)
		}
		f |= 1 << i
	}
	return f, nil
}

// Open shows a newcomer where prices stand.
func (m *market) Open(c *server.Conn) {
	wanted, _ := server.Value[filter](c)
	m.send(c, wanted)
}

// Message sets another filter.
func (m *market) Message(c *server.Conn, msg ws.Message) {
	var w wish
	err := msg.JSON(&w)
	wanted := filter(0)
	if err == nil {
		wanted, err = parseFilter(w.Symbols)
	}
	if err != nil {
		_ = c.SendJSON(map[string]string{"error": err.Error()}) // closing, or full: the client's loss
		return
	}
	c.SetValue(wanted)
	m.send(c, wanted)
}

// Drained is called when the queue of a slow reader is empty again: what he has
// missed are old prices, and here are the new ones.
func (m *market) Drained(c *server.Conn) {
	wanted, _ := server.Value[filter](c)
	m.send(c, wanted)
}

// Close has nothing to do.
func (m *market) Close(*server.Conn, error) {}
