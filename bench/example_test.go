package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// A closed loop against a server of this process.
func Example() {
	srv := &server.Server{Handler: echo{}, Logger: slog.New(slog.DiscardHandler)}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	go srv.Serve(ln)

	load := bench.Load{
		Connections: bench.Connections{Count: 10},
		Messages:    bench.Messages{MinSize: 16, MaxSize: 4096},
		Warmup:      -1,
		Duration:    200 * time.Millisecond,
	}
	r, err := bench.Run(context.Background(), bench.Target{URL: "ws://" + ln.Addr().String() + "/"}, bench.Echo{Load: load, InFlight: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("connections:", r.Opened)
	fmt.Println("troubles:", len(r.Troubles))
	fmt.Println("messages came back:", r.Count > 0, "in some time:", r.Latency.Quantile(0.99) > 0)
	// Output:
	// connections: 10
	// troubles: 0
	// messages came back: true in some time: true
}

// An open loop, followed while it lasts.
func ExampleRunWatched() {
	watch := bench.Watch{
		Phase:  func(name string) { fmt.Println("phase", name) },
		Sample: func(s result.Sample) { fmt.Printf("%.0f s: p99 %.0f us\n", s.At, s.P99) },
	}
	_, err := bench.RunWatched(context.Background(), bench.Target{URL: "wss://chat.example/"}, bench.Rate{PerSecond: -1}, watch)
	fmt.Println(err)
	// Output: bench: PerSecond: -1; allowed are 0.001 to 1000000000
}

// echo sends each message back.
type echo struct{}

func (echo) Open(*server.Conn)                    {}
func (echo) Message(c *server.Conn, m ws.Message) { _ = c.Send(m.Opcode, m.Payload) } // Close tells
func (echo) Close(*server.Conn, error)            {}
