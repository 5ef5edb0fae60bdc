// Command measure measures pubsub/nats on servers of NATS. Servers and nodes are processes of their own, so that memory
// and CPU time of each are told apart. It needs Linux. From the folder of this module:
//
//	go run ./measure interest    # many topics over three servers, with each way of interest
//	go run ./measure publish     # a message from node to node, beside nats.go alone
//	go run ./measure broadcast   # from node to node to many receivers, beside the centrifuge library on NATS
//
// Each prints its tables in Markdown, with medians of its rounds, and behind them in brackets the lowest and the highest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// commands are what it can be told to do. Those in the second group are its own processes.
var commands = map[string]func(ctx context.Context, args []string) error{
	"interest":  measureInterest,
	"publish":   measurePublish,
	"broadcast": measureBroadcast,

	"nats-server":    runServer,
	"interest-node":  runInterestNode,
	"broadcast-node": runBroadcastNode,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("what? interest, publish or broadcast")
	}
	return commands[args[0]](ctx, args[1:])
}

// parse reads flags, and nothing behind them.
func parse(set *flag.FlagSet, args []string) error {
	err := set.Parse(args)
	if err == nil && set.NArg() > 0 {
		err = fmt.Errorf("flags alone, but %q is none", strings.Join(set.Args(), " "))
	}
	return err
}
