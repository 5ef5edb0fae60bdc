package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// Options are a gateway's. Somebody has to be let in: with Auth, with Anonymous, with Open or with Local.
type Options struct {
	// Auth judge tokens, one after the other.
	Auth []Authenticator
	// Anonymous is what everybody may, with a token and without one. nil is subscribing to topics,
	// not to filters, and reading their history.
	Anonymous *Rights
	// Open lets everybody do everything. It is for a server that only trusted clients reach. Origins are checked all
	// the same.
	Open bool
	// Local is as Open, for a server at a loopback address: a request that says that it has come through a proxy,
	// from wherever, is refused. Have Server.Origin.Hosts list this machine's names alone ("localhost", "127.0.0.1", "[::1]"), or
	// pages that come in by a name of their own may do everything too.
	Local bool
	// Cookie is the name of a cookie that may bring the token; "" is none. It counts only together with
	// an Origin, which the server checks, and which is not null. With it New refuses patterns of CORS and of Server.Origin.Allow
	// that match pages that anybody can make, see ws.OriginPattern.AnyPage: set Server.Origin before.
	Cookie string
	// CORS are other origins whose pages may read the answers to plain requests and event streams, as
	// Server.Origin.Allow has them. Server.Origin must allow them too.
	CORS []string
	// PublishRate bounds the messages a second that are published by plain requests, of each user, and of each address, and IPv6
	// network of 64 bits, where there is none; PublishBurst how many may come at once, 0 is as many as a second has. 0 of PublishRate is
	// no bound. For WebSockets see pubsub.Limits.PublishRate.
	PublishRate, PublishBurst int
}

// Gateway is what clients use the topics of a hub by. New makes one. All methods may be called from any goroutine.
type Gateway struct {
	hub       *pubsub.Hub
	srv       *server.Server
	auth      []Authenticator
	anonymous Rights
	nobody    *identity
	cookie    string
	local     bool
	cors      []ws.OriginPattern
	posts     *postRate
	began     time.Time // rates count from then

	counts   counts
	ctx      context.Context // ends with the gateway
	end      context.CancelFunc
	ended    sync.WaitGroup
	expiries expiries
	bodies   account // of plain requests, and answers to them
	answers  account
}

// New makes a gateway to a hub, and starts its goroutines. Close it before the hub.
func New(hub *pubsub.Hub, o Options) (*Gateway, error) {
	g := &Gateway{
		hub: hub, srv: hub.Server(), auth: slices.Clone(o.Auth), anonymous: anonymously, cookie: o.Cookie, local: o.Local, posts: newPostRate(o.PublishRate, o.PublishBurst),
	}
	switch {
	case (o.Open || o.Local) && (len(o.Auth) > 0 || o.Anonymous != nil):
		return nil, errors.New("gateway: Options.Open says nothing together with Auth or Anonymous: it lets everybody do everything")
	case o.Open || o.Local:
		g.anonymous = everything
	case o.Anonymous != nil:
		g.anonymous = *o.Anonymous
	case len(o.Auth) == 0:
		return nil, errors.New("gateway: one of Options.Auth, Anonymous, Open and Local must say who may do what")
	}
	g.nobody = &identity{all: &g.anonymous, tokenless: len(g.auth) > 0}
	g.began = time.Now()
	if err := g.anonymous.Check(); err != nil {
		return nil, fmt.Errorf("gateway: Options.Anonymous: %w", err)
	}
	if err := g.parseCORS(o); err != nil {
		return nil, err
	}
	g.bodies.most, g.answers.most = max(maxMemory, 2*int64(min(hub.Limits().Payload, maxBody)+1)), maxMemory
	g.ctx, g.end = context.WithCancel(context.Background())
	g.expiries.changed = make(chan struct{}, 1)
	hub.SetGapNotice(g.gapNotice)
	g.ended.Go(g.runExpiries)
	return g, nil
}

// parseCORS reads the origins whose pages may read answers.
func (g *Gateway) parseCORS(o Options) error {
	for _, text := range o.CORS {
		pattern, err := ws.ParseOriginPattern(text)
		if err != nil {
			return fmt.Errorf("gateway: Options.CORS: %w", err)
		}
		g.cors = append(g.cors, pattern)
	}
	for _, text := range slices.Concat(o.CORS, g.srv.Origin.Allow) {
		if pattern, err := ws.ParseOriginPattern(text); err == nil && pattern.AnyPage() && o.Cookie != "" {
			return fmt.Errorf("gateway: with a Cookie, and the origin %s in Options.CORS or Server.Origin.Allow, any page could act for its visitors: list the origins", text)
		}
	}
	return nil
}

// Close ends what the gateway does by itself: tokens that expire end nothing any more. The server's connections stay.
func (g *Gateway) Close() {
	g.end()
	g.ended.Wait()
}

// forms of connections.
type form uint8

const (
	raw form = iota
	enveloped
	events
	forms
)

var formNames = [forms]string{"raw", "envelope", "events"}

// counts are those of all goroutines.
type counts struct {
	open               [forms]atomic.Int64
	refused            [len(answers)]atomic.Uint64 // by place in answers
	recovered, missing atomic.Uint64
	expired, gaps      atomic.Uint64
}

// refuse counts a refusal.
func (g *Gateway) refuse(err error) *Error {
	e := errorOf(err)
	g.counts.refused[e.index()].Add(1)
	return e
}

// Stats are a gateway's figures.
type Stats struct {
	Open      map[string]int64 // connections, by form: raw, envelope, events
	Refused   map[Word]uint64  // what clients have asked and not got
	Recovered uint64           // subscriptions with a position of which nothing was missing
	Missing   uint64           // subscriptions with a position of which something was missing
	Expired   uint64           // connections that ended with their tokens
	Gaps      uint64           // times that clients were told that the broker may have missed something
}

// Stats are the figures as they stand.
func (g *Gateway) Stats() Stats {
	s := Stats{
		Open: map[string]int64{}, Refused: map[Word]uint64{}, Recovered: g.counts.recovered.Load(), Missing: g.counts.missing.Load(),
		Expired: g.counts.expired.Load(), Gaps: g.counts.gaps.Load(),
	}
	for i, name := range formNames {
		s.Open[name] = g.counts.open[i].Load()
	}
	for i := range answers {
		s.Refused[answers[i].word] = g.counts.refused[i].Load()
	}
	return s
}
