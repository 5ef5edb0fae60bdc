package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// session is one connection to NATS, from its first to its last message.
type session struct {
	broker     *Broker
	conn       *nats.Conn
	queue      string         // the queue group of its subscriptions: see the package's documentation
	in         chan *nats.Msg // what came; a full one drops
	closed     chan struct{}  // the connection has ended: nothing more comes
	elected    chan *nats.Msg // the stream has a leader, perhaps another one
	maxPayload int
	number     uint64        // of the interests
	heard      heard         // the broker's own goroutine has it,
	now        time.Time     // and when it began to take those that are there
	again      bool          // it is not the first one
	found      bool          // the stream: see stream.open
	early      bool          // first is not closed yet, and what the stream sends is left to catching up
	left       bool          // some was
	first      chan struct{} // the server knows all that was wanted at the beginning
	subs       map[string]*subscription
	notes      *nats.Subscription // what other nodes' sessions have lost
	began      time.Time          // all that was lost before was told when the session before ended
	sent       atomic.Bool        // something of which no stream makes sure that it arrives

	mu   sync.Mutex // guards what follows
	slow map[*nats.Subscription]struct{}
	torn bool   // a message was, and that is logged
	shed uint64 // messages that were taken out of in
}

// subscription is one at the server, for one or several names. The session's subscriber owns it.
type subscription struct {
	*nats.Subscription
	names int
}

// connect begins a session.
func (b *Broker) connect() (*session, error) {
	options, err := b.options.connecting()
	if err != nil {
		return nil, err
	}
	s := &session{
		broker: b, in: make(chan *nats.Msg, b.options.Pending), closed: make(chan struct{}), elected: make(chan *nats.Msg, 64), first: make(chan struct{}),
		queue: "millrace-" + b.node + "-" + strconv.FormatUint(b.counts.connects.Load(), 10),
		subs:  map[string]*subscription{}, slow: map[*nats.Subscription]struct{}{},
	}
	options = append(options,
		nats.ClosedHandler(func(*nats.Conn) { close(s.closed) }),
		nats.ErrorHandler(s.failed),
		nats.LameDuckModeHandler(func(c *nats.Conn) { go c.Close() }), // the server ends soon: now is better
	)
	if s.conn, err = nats.Connect(strings.Join(b.servers(), ","), options...); err != nil {
		return nil, fmt.Errorf("nats: %s: %w", strings.Join(redacted(b.options.URLs), ", "), err)
	}
	s.maxPayload, s.again = int(s.conn.MaxPayload()), b.counts.connects.Load() > 0
	if b.stream != nil {
		if err := b.stream.open(s); err != nil {
			s.conn.Close()
			return nil, err
		}
	}
	err = s.listen()
	if err == nil {
		err = s.noteLost()
	}
	if err != nil {
		s.conn.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	b.counts.connects.Add(1)
	b.find(s.conn.DiscoveredServers())
	s.number, s.began = b.interests.begin(), time.Now()
	b.session.Store(s)
	b.why.Store(nil)
	if b.closed.Load() {
		s.conn.Close()
	}
	b.log.Info("connected to NATS", "server", s.conn.ConnectedUrlRedacted())
	b.ended.Go(s.subscribe)
	return s, nil
}

// mostFound bounds the servers that are known besides those of the options: addresses may change for ever.
const mostFound = 16

// find notes servers that a session was told of, before those that are known: with those it was made, and so is not
// told of them.
func (b *Broker) find(told []string) {
	var found []string
	for _, u := range slices.Concat(told, *b.found.Load()) {
		if !slices.Contains(found, u) && len(found) < mostFound {
			found = append(found, u)
		}
	}
	b.found.Store(&found)
}

// servers are the URLs to connect to. Those that were found have the user of the first of the options.
func (b *Broker) servers() []string {
	urls := slices.Clone(b.options.URLs)
	first, _, _ := strings.Cut(urls[0], ",")
	if _, rest, ok := strings.Cut(first, "://"); ok {
		first = rest
	}
	user := first[:strings.LastIndex(first, "@")+1]
	for _, u := range *b.found.Load() {
		if scheme, host, ok := strings.Cut(u, "://"); ok && !strings.Contains(host, "@") {
			u = scheme + "://" + user + host
		}
		urls = append(urls, u)
	}
	return urls
}

// stays says whether waiting does not mend it: the server has refused the node, or can't do what it needs.
func stays(err error) bool {
	for _, lasting := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported, nats.ErrSecureConnRequired,
		nats.ErrSecureConnWanted, fs.ErrNotExist, fs.ErrPermission, errOld, errStream, errRefused,
	} {
		if errors.Is(err, lasting) {
			return true
		}
	}
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}

// ended says whether the connection has.
func (s *session) ended() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// failed is told what the library can't tell otherwise.
func (s *session) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, nats.ErrBadHeaderMsg): // of any subscription, those of questions too, which are many
		if s.torn {
			return
		}
		s.torn = true
	case sub != nil:
		if _, known := s.slow[sub]; known {
			return
		}
		s.slow[sub] = struct{}{}
	}
	if sub != nil {
		subject = sub.Subject
	}
	s.broker.log.Warn("NATS reports an error", "err", err, "subject", subject)
}

// dropped is how many messages the node had no room for.
func (s *session) dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.shed
	for sub := range s.slow {
		if dropped, err := sub.Dropped(); err == nil {
			n += uint64(dropped)
		}
	}
	return n
}

// subscribe tells the server what is wanted, until the session ends.
func (s *session) subscribe() {
	b := s.broker
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	// Wants of the stream's topics that the server knows: those for which the stream is asked where it is, and later ones.
	var asking, waiting []*want
	answers, failed := make(chan answer, 1), false
	first := sync.OnceFunc(func() { close(s.first) })
	for {
		for some := range slices.Chunk(b.interests.changes(s.number, b.options.Linger), applyMost) {
			if err := s.apply(some); err != nil {
				b.log.Warn("subscribing at NATS failed", "err", err)
				s.conn.Close()
				return
			}
			waiting = append(waiting, s.confirm(some)...)
		}
		if len(asking) == 0 && len(waiting) > 0 && !failed && b.stream.current() != "" {
			asking, waiting = waiting, nil
			b.ended.Go(func() {
				base, err := b.stream.last(s)
				answers <- answer{base, err}
			})
		}
		if len(asking) == 0 {
			first()
		}
		select {
		case <-b.interests.wake:
		case <-tick.C:
			failed, waiting = false, slices.DeleteFunc(waiting, func(w *want) bool { return w.gone })
		case a := <-answers:
			if failed = a.err != nil; failed {
				b.log.Warn("the stream does not answer: subscribing later", "stream", b.stream.Name, "err", a.err)
				waiting = append(asking, waiting...)
			} else {
				s.known(asking, a.base, true)
			}
			asking = nil
			first() // those for which it is asked next came later
		case <-s.closed:
			return
		}
	}
}

// answer is where the stream is.
type answer struct {
	base uint64
	err  error
}

// applyMost bounds the names of which a server is told at once. A server that many nodes tell of very many at a time may
// be busy for long: so these wait here, and not on the way, where they would look like a server that is gone.
const applyMost = 4096

// apply brings a batch of changes to the server, and waits for it to know them.
func (s *session) apply(batch []*want) error {
	for _, w := range batch {
		for _, subject := range s.broker.subjects(w.name) {
			if err := s.change(subject, w); err != nil {
				return err
			}
		}
	}
	return s.conn.FlushTimeout(applyTimeout)
}

// confirm notes that the server knows a batch, but for the stream's topics, which it gives: for these the stream has to say
// where they begin.
func (s *session) confirm(batch []*want) (streams []*want) {
	b := s.broker
	b.interests.subscribed(s.number, batch)
	if b.stream == nil {
		s.known(batch, 0, false)
		return nil
	}
	var others []*want
	for _, w := range batch {
		if b.stream.meets(w.name) {
			streams = append(streams, w)
		} else {
			others = append(others, w)
		}
	}
	s.known(others, 0, false)
	return streams
}

// known notes that the server knows a batch, and tells before what may have been missed until then.
func (s *session) known(batch []*want, base uint64, streams bool) {
	for len(batch) > 0 {
		batch = s.broker.interests.confirm(s.number, batch, base, streams)
		for _, w := range batch {
			s.broker.missed(w.name)
		}
	}
}

// subjects are those to subscribe to for a name.
func (b *Broker) subjects(name string) []string {
	if b.stream == nil {
		return b.names.wanted(name)
	}
	return b.stream.subjects(name, b.names)
}

// change subscribes to a subject for one name more or less.
//
// Of several subscriptions that meet a message the server picks one. Until it knows that this one has left it may be this one: then
// it stays here until the server has answered, or the message would be lost to the others.
func (s *session) change(subject string, w *want) (err error) {
	sub := s.subs[subject]
	switch {
	case !w.gone && sub != nil:
		sub.names++
	case !w.gone:
		sub = &subscription{names: 1}
		sub.Subscription, err = s.conn.ChanQueueSubscribe(subject, s.queue, s.in)
		s.subs[subject] = sub
	case sub.names > 1:
		sub.names--
	default:
		delete(s.subs, subject)
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, slow := s.slow[sub.Subscription]; slow {
			dropped, _ := sub.Dropped()
			s.shed += uint64(max(dropped, 0))
			delete(s.slow, sub.Subscription)
		}
		if s.broker.interests.overlaps(w.name, s.broker.options.Interest) {
			err = sub.Drain()
		} else {
			err = sub.Unsubscribe()
		}
	}
	return err
}

// redacted are URLs without their passwords.
func redacted(urls []string) (clean []string) {
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil {
			text = u.Redacted()
		}
		clean = append(clean, text)
	}
	return clean
}
