package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/bench/result"
)

// # Vigil
//
// A run whose server has ended, does not answer, or lets nobody in, ends early, and
// says why and when: the rest of it would measure nothing.

// early is why a run ends before its time.
type early struct {
	why    string
	advice string // what to try; "" where the reason says it
}

func (e *early) Error() string { return e.why }

// seen is what has happened in a run so far.
type seen struct {
	Opened  int   `json:"opened"`
	Failed  int   `json:"failed"`
	Opening int   `json:"opening"` // now
	Strange int   `json:"strange"` // that got other messages than they sent
	Sent    int64 `json:"sent"`    // messages
	life
}

// life is what shows that a server sends messages back. Of a broadcast it is what came to
// others than the publisher.
type life struct {
	Returned int64 `json:"returned"` // whole messages
	Payload  int64 `json:"payload"`  // bytes, also of messages that are not whole yet
}

func (s *seen) add(other seen) {
	s.Opened += other.Opened
	s.Failed += other.Failed
	s.Opening += other.Opening
	s.Strange += other.Strange
	s.Sent += other.Sent
	s.Returned += other.Returned
	s.Payload += other.Payload
}

// vigil is what the sampler looks out for. Its times are 0 until there is something
// to time.
type vigil struct {
	before    seen
	lifeAt    time.Duration // when bytes of messages came last; until then, when the first messages were sent
	refusedAt time.Duration // since when connections fail and none opens
	refused   int           // that had failed before
	strangeAt time.Duration // when most had got other messages than they sent
}

// hopeless is how long connections may fail while none opens, and how long a run goes on
// after most have got other messages than they sent.
const hopeless = time.Second

// look, which the sampler calls, ends the run if the sample that ends now shows that
// there is no use in going on.
func (r *run) look(now time.Duration, one *result.Sample, is seen) {
	v := &r.vigil
	before := v.before
	v.before = is
	if is.Sent > 0 && (v.lifeAt == 0 || is.Payload > before.Payload) {
		v.lifeAt = now
	}
	failing := is.Failed > before.Failed
	switch {
	case is.Opened > before.Opened || one.Count > 0:
		v.refusedAt = 0
	case failing && v.refusedAt == 0:
		v.refusedAt, v.refused = now, before.Failed
	}
	if 2*is.Strange > is.Opened && v.strangeAt == 0 {
		v.strangeAt = now
	}
	// Of a run that began to open connections, others still may; in churn none is left
	// to others. One failure is no rule, and what is being opened may succeed unless
	// others go on failing.
	alone := is.Opened == 0 || r.plan.Scenario == result.Churn && one.Connections == 0
	refused := alone && is.Failed-v.refused > 1 && (is.Opening == 0 || failing)
	switch {
	case r.server.hasEnded():
		r.abort(&early{why: r.server.named() + " ended " + r.when()})
	case v.lifeAt > 0 && is.Returned == 0 && r.awaitsReplies() && now-v.lifeAt >= r.plan.FirstReply:
		r.abort(&early{r.noReply(is), r.advice()})
	case v.strangeAt > 0 && now-v.strangeAt >= hopeless: // the last one's would be an echo, once the others are gone
		r.abort(&early{why: fmt.Sprintf("%d of %d connections got other messages than they sent", is.Strange, is.Opened)})
	case v.refusedAt > 0 && refused && now-v.refusedAt >= hopeless:
		why := "no connection could be opened within " + inWords(hopeless)
		if is.Opened > 0 {
			why += ", " + r.when()
		}
		r.abort(&early{why: why})
	}
}

// noReply says that nothing came back.
func (r *run) noReply(is seen) string {
	what := "no message came back"
	switch {
	case r.plan.Scenario == result.Broadcast:
		what = "no message arrived at another connection"
	case is.Payload > 0:
		what = "no message came back as a whole, and nothing more of one"
	}
	return fmt.Sprintf("%s within %s, of %d sent", what, inWords(r.plan.FirstReply), is.Sent)
}

// awaitsReplies tells whether who sends is to get something soon.
func (r *run) awaitsReplies() bool { return r.plan.Scenario != result.Receive }

// advice is what to try if nothing comes back.
func (r *run) advice() string {
	switch {
	case r.plan.EventStreams:
		return "broadcast --event-streams needs a server that sends each message of a WebSocket to all event streams, as bench/echo --broadcast does"
	case r.plan.Scenario == result.Broadcast:
		return "broadcast needs a server that sends each message to all connections, as bench/echo --broadcast does; " +
			"to one that sends it back, try echo"
	}
	return fmt.Sprintf("%s needs a server that sends each message back as it is; is the path %s right? "+
		"For a server that sends by itself there is receive, for any other storm and wave, which send no messages; "+
		"one that takes longer needs --first-reply",
		r.plan.Scenario, r.target.request.Target)
}

// named is the server's process.
func (s *serverProcess) named() string {
	return fmt.Sprintf("the server's process %d (%s)", s.use.PID, s.use.Name)
}

// phases are the phases of a run in the middle of a sentence, those that are called
// otherwise there.
var phases = map[string]string{"": "the start", "connect": "connecting", "warm up": "the warm-up", "measure": "measuring", "close": "closing", "idle": "the idle time"}

// when says where in the run this is.
func (r *run) when() string {
	r.watching.Lock()
	defer r.watching.Unlock()
	phase, ok := phases[r.phase]
	if !ok {
		phase = fmt.Sprintf("%q", r.phase)
	}
	return fmt.Sprintf("%.1f s into %s", (r.engine.Now() - r.entered).Seconds(), phase)
}

// inWords is a time without letters that are not on every keyboard.
func inWords(d time.Duration) string { return strings.ReplaceAll(d.String(), "µ", "u") }

// whyNothingOpen says why no connection is open any more. Those of a process that has
// ended are gone a moment before it is.
func (r *run) whyNothingOpen(err error) string {
	when := r.when()
	for range 20 {
		if _, ok := r.server.usage(r.server.server); !ok {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	switch {
	case r.server.hasEnded():
		why := fmt.Sprintf("%s ended %s", r.server.named(), when)
		r.trouble("%s", why)
		return why
	case err == errNoneOpened:
		return err.Error()
	default:
		return err.Error() + " " + when
	}
}

// conclude says in the result how the run came to its end.
func (r *run) conclude(asked, limited, scenario context.Context, err error) {
	if err == nil {
		return // all was done, whatever ended since
	}
	out := r.result
	cause, aborted := context.Cause(scenario).(*early)
	switch {
	case aborted:
		out.EndedEarly = cause.why
		r.trouble("%s", cause.why)
		if cause.advice != "" {
			r.note(cause.advice)
		}
	case asked.Err() != nil:
		out.EndedEarly = "interrupted " + r.when()
		r.note("interrupted: the figures are of what was done by then")
	case limited.Err() != nil:
		out.EndedEarly = fmt.Sprintf("the run did not end within %s: it was still at %q", inWords(r.plan.Timeout), r.phase)
		r.trouble("%s", out.EndedEarly)
	case errors.Is(err, errNothingOpen):
		out.EndedEarly = r.whyNothingOpen(err)
	default:
		r.trouble("%v", err)
	}
}
