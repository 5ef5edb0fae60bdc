package nats

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/internal/filters"
	"github.com/millrace/millrace/pubsub"
)

const (
	requestTimeout = 2 * time.Second  // of JetStream, once
	storeTimeout   = 10 * time.Second // of a message, with all repetitions
	lookInterval   = 3 * time.Second  // between looks at the stream
)

// Stream is a stream of JetStream that keeps the messages of some topics. If there is none of
// that name it is created; one that is there is left as it is, and must have AllowDirect, and RePublish from
// ">" to "_live.NAME.>". Servers older than 2.11 can't do it. In its metadata nodes count how often its numbers have begun anew, since
// servers have lost messages.
//
// What a node keeps of a topic (pubsub.Rule) is a copy of its end, which saves requests: a stream does not replace
// a rule, and a rule without messages has each connection that comes back ask JetStream.
type Stream struct {
	// Name is the stream's: letters, digits, - and _.
	Name string
	// Topics are the names and filters of the topics that it keeps, for which all nodes must have it.
	Topics []string
	// Messages is how many messages a topic keeps at most, Age for how long, and Bytes how much all
	// together take; 0 is no bound.
	Messages int
	Age      time.Duration
	Bytes    int64
	// Replicas is on how many servers it is; 0 is 1. Memory keeps it in memory instead of on disk.
	Replicas int
	Memory   bool
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// filled gives the stream with its defaults, or says what can not work.
func (s Stream) filled(prefix string) (Stream, error) {
	s.Replicas = max(s.Replicas, 1)
	switch {
	case !streamName.MatchString(s.Name):
		return s, fmt.Errorf("nats: Options.Stream.Name: %q is none", s.Name)
	case len(s.Topics) == 0:
		return s, errors.New("nats: Options.Stream.Topics: none")
	case s.Messages < 0 || s.Age < 0 || s.Bytes < 0:
		return s, errors.New("nats: Options.Stream: Messages, Age and Bytes are 0 or more")
	}
	for _, t := range s.Topics {
		if t == "" || strings.HasPrefix(t, "$") {
			return s, fmt.Errorf("nats: Options.Stream.Topics: %q is no topic or filter", t)
		}
		if prefix == "" && (t[0] == '+' || t[0] == '#') {
			return s, fmt.Errorf("nats: Options.Stream.Topics: %q needs Options.Prefix, for it would take all subjects of the account", t)
		}
	}
	return s, nil
}

// config is the stream as JetStream creates it.
func (s *Stream) config(names naming) jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name: s.Name, MaxMsgsPerSubject: int64(s.Messages), MaxAge: s.Age, MaxBytes: s.Bytes, Replicas: s.Replicas,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, AllowDirect: true,
		RePublish: &jetstream.RePublish{Source: ">", Destination: livePrefix(s.Name) + ">"},
	}
	if s.Memory {
		config.Storage = jetstream.MemoryStorage
	}
	for _, t := range s.Topics {
		for _, subject := range names.matching(t) {
			if !slices.Contains(config.Subjects, subject) {
				config.Subjects = append(config.Subjects, subject)
			}
		}
	}
	return config
}

// livePrefix is what a stored message's subject has before it when it goes out to the nodes.
func livePrefix(name string) string { return "_live." + name + "." }

// stream is what a broker knows of its stream.
type stream struct {
	Stream
	live string

	seen atomic.Uint64 // number of the last message that was received, of whatever topic

	why   atomic.Pointer[string] // it can not be used; nil: it can, or nobody has looked yet
	short time.Time              // since when its leader says that it ends before a message that it had; the broker's own goroutine has it

	mu          sync.Mutex // guards what follows
	epoch       string     // of the next two; "" before the first session
	created     time.Time
	incarnation uint64
	newest      newest
	acked       uint64 // the largest number of a message of this node
	doubt       doubt
	topics      map[string]uint64 // number of the last message that was received
	floor       uint64            // up to here nothing is to be expected any more
	caught      uint64            // up to here catching up has come
	leader      string
	marks       [2]uint64 // seen at the last two looks
	behind      uint64    // number that catching up has to go on from; 0: none
	recheck     uint64    // likewise, and perhaps nothing is missing from there on
	recheckTo   uint64    // up to there; 0: to the end that the next look finds
}

// has says whether the stream has a topic.
func (st *stream) has(topic string) bool {
	return st != nil && slices.ContainsFunc(st.Topics, func(f string) bool { return pubsub.Matches(f, topic) })
}

// hasAll says that the stream has all topics of a filter, or the topic of that name. false may be
// wrong of a filter.
func (st *stream) hasAll(name string) bool {
	if !pubsub.IsFilter(name) {
		return st.has(name)
	}
	return slices.ContainsFunc(st.Topics, func(f string) bool {
		above, ok := strings.CutSuffix(f, "#")
		return f == name || ok && !pubsub.IsFilter(above) && strings.HasPrefix(name, above)
	})
}

// meets says that the stream may have the topic of that name, or topics of the filter.
func (st *stream) meets(name string) bool {
	return slices.ContainsFunc(st.Topics, func(f string) bool { return filters.Overlap(f, name) })
}

// subjects are those to subscribe to for a name.
func (st *stream) subjects(name string, names naming) (subjects []string) {
	if !st.hasAll(name) {
		subjects = names.wanted(name)
	}
	if st.meets(name) {
		for _, subject := range names.wanted(name) {
			subjects = append(subjects, st.live+subject)
		}
	}
	return subjects
}

// position is where the topics of the stream are.
func (st *stream) position(base uint64) pubsub.Position {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.epoch == "" {
		return pubsub.Position{}
	}
	return pubsub.Position{Epoch: st.epoch, Number: max(base, st.seen.Load())}
}

// missedStream tells that something may be missing of all that the stream has.
func (b *Broker) missedStream() {
	for _, name := range b.interests.names() {
		if b.stream.meets(name) {
			b.missed(name)
		}
	}
}

// info is what the stream's leader says of it.
func (st *stream) info(s *session) (*status, error) {
	info := &status{StreamInfo: new(jetstream.StreamInfo)}
	info.epoch, info.reached = st.reached()
	if err := st.ask(context.Background(), s, "STREAM.INFO", nil, info.StreamInfo); err != nil {
		return nil, err
	}
	return info, nil
}

// ask makes a request of JetStream's API about the stream, until ctx's deadline; if there is none for requestTimeout. What
// the API refuses is a *jetstream.APIError.
func (st *stream) ask(ctx context.Context, s *session, what string, request, answer any) error {
	text, err := marshal(request)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	var refusal struct {
		Error *jetstream.APIError `json:"error"`
	}
	msg, err := s.conn.RequestWithContext(ctx, "$JS.API."+what+"."+st.Name, text)
	if err == nil {
		err = json.Unmarshal(msg.Data, &refusal)
	}
	if err == nil && refusal.Error != nil {
		err = refusal.Error
	}
	if err != nil {
		return fmt.Errorf("nats: %s of the stream %s: %w", what, st.Name, err)
	}
	return json.Unmarshal(msg.Data, answer)
}

// marshal is a request's text, of nil none.
func marshal(request any) ([]byte, error) {
	if request == nil {
		return nil, nil
	}
	return json.Marshal(request)
}

// store has the stream keep a message, and returns when it does.
func (b *Broker) store(ctx context.Context, s *session, msg *nats.Msg) (pubsub.Published, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if msg.Header == nil {
		msg.Header = nats.Header{}
	}
	msg.Header.Set(nats.MsgIdHdr, rand.Text()) // nobody else may know it before: what has it already counts as stored
	if s.tooBig(msg.Header, msg.Data) {
		return pubsub.Published{}, s.errTooBig()
	}
	epoch, reached := b.stream.reached()
	last := error(ErrDisconnected)
	stored := false // perhaps
	for pause := firstBackoff; ; pause = min(2*pause, time.Second) {
		if s != nil {
			ack, err := storeOnce(ctx, s, msg)
			if err == nil {
				b.counts.published.Add(1)
				return pubsub.Published{Position: b.positionOf(s, ack, epoch, reached)}, nil
			}
			var refusal *jetstream.APIError
			last = err
			switch local, refused := unsent(err), errors.As(err, &refusal); {
			case local != nil && stored:
				return pubsub.Published{}, fmt.Errorf("%w: %w", pubsub.ErrUnknown, err)
			case local != nil:
				return pubsub.Published{}, fmt.Errorf("%w: %w", local, err)
			case refused && !stored && refusal.Code < 500:
				return pubsub.Published{}, fmt.Errorf("%w: %w", ErrNoStream, err)
			case !refused && !errors.Is(err, nats.ErrNoResponders):
				stored = true
			}
		}
		select {
		case <-ctx.Done():
		case <-b.ending:
		case <-time.After(pause):
			s = b.session.Load()
			continue
		}
		if stored {
			return pubsub.Published{}, fmt.Errorf("%w: %w", pubsub.ErrUnknown, last)
		}
		return pubsub.Published{}, fmt.Errorf("%w: %w", ErrNoStream, last)
	}
}

// unsent is what became of a message that was not sent, and will not be if it is tried again; nil: it may have been.
func unsent(err error) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload): // the server takes less now
		return pubsub.ErrTooBig
	case errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrHeadersNotSupported):
		return ErrNoStream
	}
	return nil
}

// storeOnce is one request of store.
func storeOnce(ctx context.Context, s *session, msg *nats.Msg) (number uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := s.conn.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(answer.Data, &ack); {
	case err != nil:
		return 0, fmt.Errorf("nats: no answer of a stream: %w", err)
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Seq == 0:
		return 0, errors.New("nats: no answer of a stream")
	}
	return ack.Seq, nil
}

// positionOf is that of a message that was stored. In this epoch the stream had reached a number before.
func (b *Broker) positionOf(s *session, number uint64, epoch string, reached uint64) pubsub.Position {
	switch known, again := b.stream.storedBehind(epoch, reached, number); {
	case !known:
		return pubsub.Position{}
	case !again:
		return pubsub.Position{Epoch: epoch, Number: number}
	}
	s.lookAgain()
	for attempt := range attempts {
		time.Sleep(time.Duration(attempt) * 50 * time.Millisecond) // the look is under way
		if info, err := b.stream.info(s); err == nil {
			if epoch = b.stream.epochBy(info); epoch != "" {
				return pubsub.Position{Epoch: epoch, Number: number}
			}
		}
	}
	return pubsub.Position{}
}
