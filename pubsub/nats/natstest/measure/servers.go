package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/pubsub/nats/natstest/natsd"
)

// runServer is nats-server as a process.
func runServer(_ context.Context, args []string) error {
	go func() {
		fmt.Println("started")
		_ = obey(nil)
		os.Exit(0) // nobody is there any more
	}()
	return natsd.Run(args)
}

// natsServer is nats-server as a process.
type natsServer struct {
	*child
	url string
}

// startServer starts one, with these arguments besides its address.
func startServer(ctx context.Context, args ...string) (*natsServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &natsServer{url: fmt.Sprintf("nats://127.0.0.1:%d", port)}
	args = append([]string{"nats-server", "-a", "127.0.0.1", "-p", strconv.Itoa(port), "-l", os.DevNull}, args...)
	if s.child, _, err = startSelf(ctx, "started", args...); err != nil {
		return nil, err
	}
	conn, err := connect(s.url)
	if err != nil {
		s.end()
		return nil, err
	}
	conn.Close()
	return s, nil
}

// connect connects to a server, which may just be starting.
func connect(url string) (conn *natsgo.Conn, err error) {
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		if conn, err = natsgo.Connect(url, natsgo.NoReconnect()); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// startCluster starts three servers, which have found each other.
func startCluster(ctx context.Context) (servers []*natsServer, err error) {
	defer func() {
		if err != nil {
			endAll(servers)
		}
	}()
	var routes []string
	for range 3 {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	for i := range routes {
		s, err := startServer(ctx, "-n", "s"+strconv.Itoa(i), "--cluster_name", "measure", "--cluster", routes[i], "--routes", strings.Join(routes, ","))
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
	}
	return servers, found(servers)
}

// found waits until what is published on one server comes to the others.
func found(servers []*natsServer) error {
	var conns []*natsgo.Conn
	var subs []*natsgo.Subscription
	for _, s := range servers {
		conn, err := connect(s.url)
		if err != nil {
			return err
		}
		defer conn.Close()
		sub, err := conn.SubscribeSync("found.*")
		if err != nil {
			return err
		}
		conns, subs = append(conns, conn), append(subs, sub)
	}
	for begin := time.Now(); time.Since(begin) < 10*time.Second; {
		missing := 0
		for _, from := range conns {
			subject := "found." + natsgo.NewInbox()[7:20]
			_ = from.Publish(subject, nil) // it would not come
			for _, sub := range subs {
				if !comes(sub, subject) {
					missing++
				}
			}
		}
		if missing == 0 {
			return nil
		}
	}
	return errors.New("the servers do not find each other")
}

// comes says whether a message comes soon.
func comes(sub *natsgo.Subscription, subject string) bool {
	for {
		msg, err := sub.NextMsg(100 * time.Millisecond)
		if err != nil || msg.Subject == subject {
			return err == nil
		}
	}
}

func endAll(servers []*natsServer) {
	for _, s := range servers {
		s.end()
	}
}
