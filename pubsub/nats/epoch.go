package nats

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// # When numbers begin anew
//
// A stream's numbers grow, unless its servers have lost messages: a stream in memory begins at 1 again when all its servers were
// restarted, and one on disk may lack its end behind a power cut. It still is the same stream, with the same time of creation, if
// its servers remember that. But its numbers are those of other messages then, and positions of before mean nothing.
//
// So an epoch is a stream's creation and its incarnation, which is a count in the stream's metadata. A node knows the newest message that it
// has heard of. If the stream ends before it, or has another one in its place, the next incarnation begins: all nodes that notice
// count the same, and who comes later reads it. What is younger than the newest message is of the new incarnation.

const (
	incarnationKey = "millrace.incarnation" // of the metadata
	young          = time.Minute            // an age at which a stream may be empty since nobody has published yet
	shortTime      = time.Second            // that a leader may be behind, which was elected just now
)

// errAnew: the stream is not the one that the broker knows, or its leader is behind.
var errAnew = errors.New("nats: the stream's numbers may have begun anew")

// newest is the newest message of the stream that a node has heard of.
type newest struct {
	number uint64
	at     time.Time // when it was stored; zero: not known
}

// doubt says whether the stream may have lost the newest message.
type doubt uint8

const (
	noDoubt   doubt = iota
	doubted         // it has another leader, or the node another connection
	denied          // a younger message has its number, or a smaller one
	disproved       // a message of this node has got its number, or a smaller one
)

// status is what the stream's leader says of it.
type status struct {
	*jetstream.StreamInfo
	// When the leader was asked the broker knew this epoch, and messages up to this number.
	epoch   string
	reached uint64
}

// incarnation is what the metadata says.
func (info *status) incarnation() uint64 { return incarnationOf(info.Config.Metadata) }

func incarnationOf(metadata map[string]string) uint64 {
	n, _ := strconv.ParseUint(metadata[incarnationKey], 10, 64) // else it is the first one
	return n
}

// misses says that the stream ends before a message that it had.
func (info *status) misses() bool { return info.State.LastSeq < info.reached }

// replaces says that the stream's first message is younger than another one, but has not a larger number.
func (info *status) replaces(n newest) bool {
	state := &info.State
	return state.Msgs > 0 && state.FirstSeq <= n.number && !n.at.IsZero() && state.FirstTime.After(n.at)
}

// epochOf is the epoch of a stream that was created then.
func epochOf(created time.Time, incarnation uint64) string {
	epoch := strconv.FormatInt(created.UnixNano(), 36)
	if incarnation > 0 {
		epoch += "." + strconv.FormatUint(incarnation, 36)
	}
	return epoch
}

func (st *stream) current() string {
	epoch, _ := st.reached()
	return epoch
}

// reached is the epoch, and the largest number of a message that is known.
func (st *stream) reached() (epoch string, number uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.epoch, max(st.newest.number, st.acked)
}

// epochBy is the stream's epoch by what its leader says; "": that is not certain.
func (st *stream) epochBy(info *status) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	incarnation := info.incarnation()
	if info.Created.Equal(st.created) && incarnation <= st.incarnation {
		if info.epoch != st.epoch || st.doubt > noDoubt || info.misses() || info.replaces(st.newest) {
			return ""
		}
		incarnation = st.incarnation
	}
	return epochOf(info.Created, incarnation)
}

// hear notes a message that was stored. again: an older one has had its number, or a larger one, and so it is with all that come
// until anew has settled that.
func (st *stream) hear(number uint64, at time.Time) (again bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.doubt >= denied:
	case number > st.newest.number:
		st.newest = newest{number, at}
	case !st.newest.at.IsZero() && at.After(st.newest.at):
		st.doubt = denied
	}
	return st.doubt >= denied
}

// storedBehind notes that a message of this node was stored, when numbers of an epoch had reached so far. It is of that epoch, or of a
// later one (again), or that is not known.
func (st *stream) storedBehind(epoch string, reached, number uint64) (known, again bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch same := st.epoch == epoch; {
	case number > reached:
		if same {
			st.acked = max(st.acked, number)
		}
		return same, false
	case same:
		st.doubt = disproved
	}
	return true, true
}

// suspect notes a doubt.
func (st *stream) suspect(d doubt) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.doubt = max(st.doubt, d)
}

// anew says whether the stream's numbers have begun anew, by what its leader says, and begins another epoch then. With an error that is not
// certain. The broker's own goroutine calls it.
func (st *stream) anew(s *session, info *status) (bool, error) {
	st.mu.Lock()
	began, known, incarnation, newest, doubt := st.epoch != "", info.Created.Equal(st.created), st.incarnation, st.newest, st.doubt
	st.mu.Unlock()
	switch {
	case !began: // with the broker, since it was not there
		st.first(s, info)
		return true, nil
	case !known || info.incarnation() > incarnation: // another node was first
		return true, st.begin(s, info, info.incarnation())
	case st.lags(info):
		return false, errBehind
	case info.misses() || info.replaces(newest) || doubt == disproved:
		return true, st.begin(s, info, incarnation+1)
	case doubt > noDoubt && newest.number > 0:
		lost, err := st.lost(s, newest, doubt)
		if err == nil && lost {
			err = st.begin(s, info, incarnation+1)
		}
		if err != nil || lost {
			return lost, err
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.doubt == doubt {
		st.doubt = noDoubt
	}
	if info.State.LastSeq > st.newest.number {
		st.newest = newestOf(info)
	}
	return false, nil
}

// newestOf is the last message that the leader knows.
func newestOf(info *status) newest { return newest{info.State.LastSeq, info.State.LastTime} }

// lags says that the stream ends before a message that it had, but that its leader may just be behind its replicas.
func (st *stream) lags(info *status) bool {
	switch {
	case !info.misses():
		st.short = time.Time{}
		return false
	case info.Cluster == nil || len(info.Cluster.Replicas) == 0:
		return false
	case st.short.IsZero():
		st.short = time.Now()
	}
	return time.Since(st.short) < shortTime
}

// lost asks the leader whether it has another message in the place of one.
func (st *stream) lost(s *session, n newest, d doubt) (bool, error) {
	var answer struct {
		Message struct {
			Time time.Time `json:"time"`
		} `json:"message"`
	}
	err := st.ask(context.Background(), s, "STREAM.MSG.GET", get{Seq: n.number}, &answer)
	if refusal, ok := errors.AsType[*jetstream.APIError](err); ok && refusal.Code == http.StatusNotFound {
		return d == denied, nil // else it may have grown too old
	}
	return err == nil && !n.at.IsZero() && !answer.Message.Time.Equal(n.at), err
}

// begin begins another epoch.
func (st *stream) begin(s *session, info *status, incarnation uint64) error {
	floor := uint64(0)
	if !info.Created.Equal(st.created) {
		s.broker.log.Warn("the stream was created anew: its past is lost", "stream", st.Name)
	} else {
		var err error
		if floor, err = st.upTo(s, info); err != nil {
			return err
		}
		s.broker.log.Warn("the stream has lost messages, and gives their numbers to others", "stream", st.Name)
	}
	st.renew(s, info, incarnation, floor)
	s.broker.interests.rebase()
	s.broker.missedStream()
	return nil
}

// upTo is the number of the last message that is not younger than the newest one.
func (st *stream) upTo(s *session, info *status) (uint64, error) {
	st.mu.Lock()
	at := st.newest.at
	st.mu.Unlock()
	if at.IsZero() {
		return 0, nil
	}
	for attempt := range attempts {
		if !info.State.LastTime.After(at) {
			break
		}
		time.Sleep(time.Duration(attempt) * 50 * time.Millisecond) // a replica catches up
		from := at.Add(1)
		found, err := st.fetch(context.Background(), s, get{StartTime: &from, NextFor: ">", Batch: 1})
		if err != nil {
			return 0, err
		}
		if len(found.messages) > 0 {
			return numberOf(found.messages[0]) - 1, nil
		}
	}
	return info.State.LastSeq, nil
}

// first begins with the stream, as it is found.
func (st *stream) first(s *session, info *status) {
	incarnation := info.incarnation()
	if info.Config.Storage == jetstream.MemoryStorage && info.Cluster != nil && info.State.LastSeq == 0 && info.TimeStamp.Sub(info.Created) > young {
		incarnation++ // its servers may have been restarted, and all nodes with them
	}
	st.renew(s, info, incarnation, info.State.LastSeq) // nothing before it is expected
	s.broker.missedStream()                            // and what was wanted before may have missed something
}

// renew has the stream be in an epoch, in which nothing up to floor is expected.
func (st *stream) renew(s *session, info *status, incarnation, floor uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.created, st.incarnation, st.epoch = info.Created, incarnation, epochOf(info.Created, incarnation)
	st.newest, st.acked, st.doubt, st.short = newestOf(info), 0, noDoubt, time.Time{}
	st.topics, st.floor, st.caught, st.marks = map[string]uint64{}, floor, 0, [2]uint64{floor, floor}
	st.behind, st.recheck, st.recheckTo = 0, 0, 0
	st.seen.Store(floor)
	if info.incarnation() < incarnation {
		s.lookAgain() // and have it counted
	}
}

// count has the stream's metadata have the incarnation that the broker knows, and leaves all else of the configuration as it is.
func (st *stream) count(s *session, told uint64) error {
	st.mu.Lock()
	incarnation := st.incarnation
	st.mu.Unlock()
	if told >= incarnation {
		return nil
	}
	var info struct {
		Config map[string]json.RawMessage `json:"config"`
	}
	if err := st.ask(context.Background(), s, "STREAM.INFO", nil, &info); err != nil {
		return err
	}
	metadata := map[string]string{}
	if text, ok := info.Config["metadata"]; ok {
		if err := json.Unmarshal(text, &metadata); err != nil {
			return err
		}
	}
	if incarnationOf(metadata) >= incarnation {
		return nil // another node was first
	}
	metadata[incarnationKey] = strconv.FormatUint(incarnation, 10)
	text, err := json.Marshal(metadata)
	if err != nil {
		return err
	}
	info.Config["metadata"] = text
	return st.ask(context.Background(), s, "STREAM.UPDATE", info.Config, &struct{}{})
}

// last is the number of the stream's last message, as its leader knows it.
func (st *stream) last(s *session) (uint64, error) {
	info, err := st.info(s)
	if err != nil {
		return 0, err
	}
	if st.epochBy(info) != info.epoch {
		return 0, errAnew // a look will see it
	}
	return info.State.LastSeq, nil
}
