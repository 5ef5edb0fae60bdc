package gateway

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/ws"
)

// target is what a URL asks for.
type target struct {
	topics   []string // names and filters
	since    []pubsub.Position
	last     []int
	limit    int
	envelope bool
	token    string // of the query; of a plain request then the one that counts
	info     []byte
}

// maxParameter is how long a name is that a query may have by mistake.
const maxParameter = 20

// maxLast bounds last and limit.
const maxLast = 1_000_000

// areas are the first levels of the paths.
const (
	topicsArea   = "topics"
	historyArea  = "history"
	presenceArea = "presence"
	statsArea    = "stats"
)

// areaOf takes a path apart, as it was sent. ok: it is one of the gateway's.
func areaOf(path string) (area, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, "/")
	if !ok {
		return "", "", false
	}
	area, rest, _ = strings.Cut(path, "/")
	return area, rest, area == topicsArea || area == historyArea || area == presenceArea || area == statsArea
}

// parameters are those of queries.
var parameters = []string{"topic", "since", "last", "limit", "envelope", "token", "info"}

// parseTarget reads what stands behind the area, and the query. Names are decoded here, once, and nowhere
// else: rights are held against what the hub is given.
func parseTarget(rest, rawQuery string) (*target, error) {
	var t target
	if rest != "" {
		name, err := url.PathUnescape(rest)
		if err != nil {
			return nil, &Error{BadName, "the path is not encoded rightly: a percent sign is %25"}
		}
		// Proxies and routers take such levels out of a path: the name would be another one.
		for level := range strings.SplitSeq(name, "/") {
			if level == "" || level == "." || level == ".." {
				return nil, &Error{BadName, quoted(name) + " has an empty level, . or .. in the path: name it with ?topic="}
			}
		}
		t.topics = []string{name}
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, &Error{BadRequest, "the query is not encoded rightly: + is %2B, # is %23, & is %26, ; is %3B"}
	}
	for name := range query {
		if !slices.Contains(parameters, name) {
			if len(name) > maxParameter {
				name = "..." // it may be a token without its token=, and the error is logged
			}
			return nil, &Error{BadRequest, "a query has no " + quoted(name) + ": a + in a name is %2B, a # is %23, an & is %26"}
		}
	}
	for _, name := range query["topic"] {
		if !slices.Contains(t.topics, name) {
			t.topics = append(t.topics, name)
		}
	}
	if t.since, err = parsePositions(query["since"], len(t.topics)); err != nil {
		return nil, err
	}
	if t.last, err = parseLasts(query["last"], len(t.topics)); err != nil {
		return nil, err
	}
	if t.limit, err = parseCount("limit", query.Get("limit")); err != nil {
		return nil, err
	}
	switch query.Get("envelope") {
	case "", "0":
	case "1":
		t.envelope = true
	default:
		return nil, &Error{BadRequest, "envelope is 1 or 0"}
	}
	t.token = query.Get("token")
	if info := query.Get("info"); info != "" {
		if !json.Valid([]byte(info)) {
			return nil, &Error{BadRequest, "info is no JSON"}
		}
		t.info = []byte(info)
	}
	return &t, nil
}

// parsePositions reads one position, or one for each topic.
func parsePositions(texts []string, topics int) (all []pubsub.Position, err error) {
	if len(texts) > 1 && len(texts) != topics {
		return nil, &Error{BadRequest, "since is given once, or once for each topic"}
	}
	for _, text := range texts {
		p, err := pubsub.ParsePosition(text)
		if err != nil {
			return nil, errorOf(err)
		}
		all = append(all, p)
	}
	return all, nil
}

// parseLasts reads one number, or one for each topic.
func parseLasts(texts []string, topics int) (all []int, err error) {
	if len(texts) > 1 && len(texts) != topics {
		return nil, &Error{BadRequest, "last is given once, or once for each topic"}
	}
	for _, text := range texts {
		n, err := parseCount("last", text)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func parseCount(name, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n > maxLast {
		return 0, &Error{BadRequest, name + " is a number from 0 to " + strconv.Itoa(maxLast)}
	}
	return int(n), nil
}

// sinceOf is the position for the topic of this index.
func (t *target) sinceOf(i int) pubsub.Position { return ofTopic(t.since, i) }

// lastOf is how many of the past the topic of this index is to begin with.
func (t *target) lastOf(i int) int { return ofTopic(t.last, i) }

// ofTopic is what a query says of the topic of this index: nothing, the same of all, or something of each.
func ofTopic[T any](all []T, i int) (v T) {
	switch len(all) {
	case 0:
		return v
	case 1:
		return all[0]
	}
	return all[i]
}

// one is the topic where there must be exactly one.
func (t *target) one() (string, error) {
	if len(t.topics) != 1 {
		return "", &Error{BadRequest, "name one topic, in the path or with ?topic="}
	}
	return t.topics[0], checkTopic(t.topics[0])
}

// checkTopic says why a name is not one of a topic.
func checkTopic(name string) error {
	if err := pubsub.CheckFilter(name); err != nil {
		return err
	}
	if pubsub.IsFilter(name) {
		return &Error{Wildcard, quoted(name) + " is a filter: name a topic"}
	}
	return nil
}

// unknownPosition is before nothing that is kept.
var unknownPosition = pubsub.Position{Epoch: "?"}

// resume has an event stream go on behind the last id that the client has seen. That says what it has of
// one topic, and of several nothing: the ids of one say nothing of the others', even if a broker numbers them together, since pasts follow
// one upon the other. Who is not told that all is recovered loads anew.
//
// Who may not read the history goes on without it.
func (t *target) resume(r *ws.Request, who *identity) {
	id := r.Header("Last-Event-ID")
	if id == "" {
		return
	}
	p, err := pubsub.ParsePosition(id)
	switch {
	case len(t.topics) != 1 || !hasHistory(t.topics[0]) || !who.may((*Rights).mayReadHistory, t.topics[0]):
		t.since = nil
	case err != nil:
		t.since = []pubsub.Position{unknownPosition}
	default:
		t.since = []pubsub.Position{p}
	}
}
