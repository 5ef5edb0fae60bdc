// Command listeners opens connections to the example ticker and counts the prices that
// come in. Start it in the folder examples, beside go run ./ticker:
//
//	go run ./ticker/listeners -connections 5000
//
// The clients are gorilla/websocket's, with a goroutine and some KB each: the server
// needs far less.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

func main() {
	url := flag.String("url", "ws://127.0.0.1:8080/", "where the ticker is")
	connections := flag.Int("connections", 1000, "how many to open")
	duration := flag.Duration("duration", 30*time.Second, "how long to listen")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()

	var open, prices atomic.Int64
	var listening sync.WaitGroup
	places := make(chan struct{}, 64) // so many handshakes at once
	for range *connections {
		listening.Go(func() { listen(ctx, *url, places, &open, &prices) })
	}
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticks.C:
			fmt.Printf("%d open, %d prices in the last second\n", open.Load(), prices.Swap(0))
		}
	}
	listening.Wait()
}

// listen counts the prices of one connection until ctx is done, or the server closes it.
func listen(ctx context.Context, url string, places chan struct{}, open, prices *atomic.Int64) {
	places <- struct{}{}
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	<-places
	if err != nil {
		if ctx.Err() == nil {
			log.Print(err)
		}
		return
	}
	open.Add(1)
	defer open.Add(-1)
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends the reading below
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			_ = conn.Close() // it is over anyway
			return
		}
		prices.Add(1)
	}
}
