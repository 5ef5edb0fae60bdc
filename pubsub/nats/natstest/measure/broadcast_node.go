package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// channel is the topic of all.
const channel = "all"

// runBroadcastNode is a node of millrace: all connections are subscribed to one topic, to which it publishes what they
// send. Each is told how it is subscribed.
func runBroadcastNode(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("broadcast-node", flag.ContinueOnError)
	listen, url, stream := set.String("listen", "127.0.0.1:0", "address"), set.String("nats", "", "server"), set.Bool("stream", false, "with a stream")
	if err := parse(set, args); err != nil {
		return err
	}
	if _, _, err := poller.RaiseDescriptorLimit(); err != nil {
		return err
	}
	o := nats.Options{URLs: []string{*url}, Logger: warnings()}
	if *stream {
		o.Stream = &nats.Stream{Name: "M", Topics: []string{channel}, Messages: 1000}
	}
	srv := &server.Server{Logger: warnings()}
	hub, err := pubsub.New(srv, pubsub.Options{Broker: nats.New(o), Rules: []pubsub.Rule{{Filter: channel, Messages: 100}}})
	if err != nil {
		return err
	}
	defer func() { _ = hub.Close() }() // the process ends
	srv.Upgrade = func(r *ws.Request) (server.Accept, error) {
		since, err := pubsub.ParsePosition(r.Query().Get("since"))
		return server.Accept{Value: since}, err
	}
	srv.Handler = server.HandlerFuncs{
		OnOpen: func(c *server.Conn) {
			since, _ := server.Value[pubsub.Position](c)
			_, err := hub.Subscribe(c, channel, pubsub.SubscribeOptions{Since: since, Before: func(s pubsub.Subscribed) error {
				return c.SendText(fmt.Sprintf("%s%v %v", subscribed, s.Recovered, s.Position))
			}})
			if err != nil {
				c.Close(ws.CodePolicy, err.Error())
			}
		},
		OnMessage: func(c *server.Conn, m ws.Message) {
			for {
				_, err := hub.Publish(ctx, pubsub.Message{Topic: channel, Payload: m.Payload}, pubsub.PublishOptions{From: c})
				if err == nil {
					return
				}
				if !errors.Is(err, server.ErrNoRoom) {
					c.Close(ws.CodePolicy, err.Error())
					return
				}
				time.Sleep(time.Millisecond) // TCP holds the publisher up meanwhile
			}
		},
	}
	ln, err := srv.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("listening on", ln.Addr())
	return srv.Serve(ln)
}
