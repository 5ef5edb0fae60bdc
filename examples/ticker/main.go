// Command ticker sends prices to as many connections as the machine holds, from one
// goroutine that is no handler. It shows Server.Each, a filter for each connection, a
// message that is framed once for all who want it, readers that are too slow and miss
// prices instead of being closed, and metrics.
//
// Start it in the folder examples:
//
//	go run ./ticker
//
// and listen:
//
//	npx wscat -c 'ws://127.0.0.1:8080/?symbols=ACME,INIT'
//	{"symbols":["BOLT"]}
//
// or have thousands listen, in another terminal:
//
//	go run ./ticker/listeners -connections 5000
//
// and look at http://127.0.0.1:8080/metrics meanwhile: millrace_messages_sent_total counts the
// prices, millrace_messages_dropped_total those that slow readers have missed.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/prom"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	every := flag.Duration("every", 250*time.Millisecond, "`time` between two rounds of prices")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	m := newMarket()
	srv := newServer(*addr, m)
	var trading sync.WaitGroup
	trading.Go(func() { m.trade(ctx, srv, *every) })

	log.Printf("ticker: starting on ws://%s/", *addr)
	err := srv.Run(ctx, server.DrainOptions{})
	stop() // Run may have failed, and nobody else would tell the market
	trading.Wait()
	if err != nil {
		log.Fatal(err)
	}
}

func newServer(addr string, m *market) *server.Server {
	pages := http.NewServeMux()
	srv := &server.Server{
		Addr:    addr,
		Handler: m,
		Upgrade: m.admit,
		HTTP:    pages,
		// A price is worth nothing when the next one is there. A slow reader keeps his
		// connection and misses prices: at most 16 KiB wait for him here, besides what the
		// kernel's buffers hold. Drained brings him up to date.
		Queue:  server.Queue{Max: 16 << 10, Policy: server.DropNewest},
		Limits: server.Limits{Message: 4 << 10, MessageRate: 10},
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.NewCollector(srv))
	// In earnest metrics are on an address that the world does not see.
	pages.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return srv
}
