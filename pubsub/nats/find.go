package nats

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/pubsub"
)

// open finds the stream, or creates it, for a new session. This one begins also without an answer of JetStream, which may have no leader, if an
// earlier session has found the stream, or with Options.Retry: the stream's topics wait, and all others do not.
func (st *stream) open(s *session) error {
	if err := recent(s.conn.ConnectedServerVersion()); err != nil {
		return err
	}
	if _, err := s.conn.ChanSubscribe("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."+st.Name, s.elected); err != nil {
		return err
	}
	info, err := st.find(s)
	began := st.current() != ""
	switch {
	case err == nil && began:
		st.suspect(doubted)
		_, err = st.anew(s, info)
	case err == nil:
		st.first(s, info)
	case st.lasts(err), !began && !s.broker.options.Retry:
		return err
	}
	if s.found = err == nil; !s.found {
		s.broker.log.Warn("the stream can not be used yet", "stream", st.Name, "err", err)
	}
	st.answers(err)
	return nil
}

// answers notes whether the stream can be used.
func (st *stream) answers(err error) {
	if err == nil {
		st.why.Store(nil)
		return
	}
	why := err.Error()
	st.why.Store(&why)
}

// lasts says that waiting does not mend an error of find. To a broker that has found the stream before, a refusal of JetStream does not count as
// that: somebody may just be changing something there.
func (st *stream) lasts(err error) bool {
	return stays(err) && (st.current() == "" || !errors.Is(err, errRefused))
}

// find gives what the stream's leader says of it. A stream that is not there it creates.
func (st *stream) find(s *session) (*status, error) {
	info := &status{}
	info.epoch, info.reached = st.reached()
	js, err := jetstream.New(s.conn)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*requestTimeout)
	defer cancel()
	want := st.config(s.broker.names)
	found, err := js.Stream(ctx, st.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		found, err = js.CreateStream(ctx, want)
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("nats: the stream %s: JetStream is not enabled on the servers, or has no leader yet: %w", st.Name, err)
	case refused(err):
		return nil, fmt.Errorf("%w %s: %w", errRefused, st.Name, err)
	case err != nil:
		return nil, fmt.Errorf("nats: the stream %s: %w", st.Name, err)
	}
	info.StreamInfo = found.CachedInfo()
	if republish := info.Config.RePublish; !info.Config.AllowDirect || republish == nil || republish.Destination != want.RePublish.Destination {
		return nil, fmt.Errorf("%w: %s is there, but without AllowDirect, or RePublish to %s", errStream, st.Name, want.RePublish.Destination)
	}
	return info, nil
}

var (
	errOld     = errors.New("nats: the server is too old")
	errStream  = errors.New("nats: the stream is not as it must be")
	errRefused = errors.New("nats: JetStream refuses the stream")
)

// refused says that JetStream has refused to find or to create the stream, and will do so again. That there are too few servers for
// its replicas may change.
func refused(err error) bool {
	const tooFew, notOfOne = 10005, 10074 // servers; a server without a cluster has no replicas
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (refusal.Code == http.StatusBadRequest && refusal.ErrorCode != tooFew || refusal.ErrorCode == notOfOne ||
		refusal.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabledForAccount)
}

// errNotFound is for what needs the stream before it was found.
func (st *stream) errNotFound() error {
	return fmt.Errorf("%w: the stream %s has not been found yet: %w", ErrNoStream, st.Name, pubsub.ErrUnavailable)
}

// recent says that a server is too old.
func recent(version string) error {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major) // 0 is too old
	if b, _ := strconv.Atoi(minor); a < 2 || a == 2 && b < 11 {
		return fmt.Errorf("%w: it has version %s, and a stream needs 2.11 or later", errOld, version)
	}
	return nil
}
