package nats

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// # Torn messages
//
// The server stores whatever another program publishes as a block of headers, and puts its own headers behind that. If a line of the block is no
// header, or the block has an empty line in its middle, these can not be read: nobody knows from the message itself which one it is. It must not hold up those
// behind it. So it counts as one that is missing, and which one is seen by the next answer, which tells the number of the one before.

// get is a request for messages of the stream.
type get struct {
	Seq       uint64     `json:"seq,omitempty"`
	LastFor   string     `json:"last_by_subj,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	MultiLast []string   `json:"multi_last,omitempty"`
	UpTo      uint64     `json:"up_to_seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
}

// page is an answer: messages by their numbers, with these in their headers. For torn ones that follow each other there is one, see tornAt.
type page struct {
	messages []*nats.Msg
	last     uint64 // number of the last one
	pending  uint64 // how many there are behind it
}

// fetch asks any replica for a page.
func (st *stream) fetch(ctx context.Context, s *session, request get) (p page, err error) {
	if request.Batch > 0 && request.MaxBytes == 0 {
		request.MaxBytes = pageBytes
	}
	answers, inbox := make(chan *nats.Msg, pageSize+1), s.conn.NewInbox()
	sub, err := s.conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return p, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may have ended
	text, err := marshal(request)
	if err != nil {
		return p, err
	}
	if err := s.conn.PublishRequest("$JS.API.DIRECT.GET."+st.Name, inbox, text); err != nil {
		return p, err
	}
	timeout := time.NewTimer(requestTimeout)
	defer timeout.Stop()
	for torn := false; ; {
		select {
		case msg := <-answers:
			timeout.Reset(requestTimeout)
			number, before, _, ok := storedAt(msg)
			switch status := msg.Header.Get("Status"); {
			case hides(msg):
				torn = true
			case !ok && status == "":
				return p, errNumber
			case !ok:
				return p.closing(msg, status, torn)
			case torn && !p.tear(before):
				return p, errNumber
			default:
				torn = false
				p.messages, p.last = append(p.messages, msg), number
			}
		case <-s.closed:
			return p, ErrDisconnected
		case <-ctx.Done():
			return p, ctx.Err()
		case <-timeout.C:
			return p, fmt.Errorf("nats: the stream %s does not answer", st.Name)
		}
	}
}

var errNumber = errors.New("nats: an answer of the stream has no number")

// closing is the page when its last answer has come. torn: those before it were.
func (p page) closing(msg *nats.Msg, status string, torn bool) (page, error) {
	switch code, _ := strconv.Atoi(status); code {
	case http.StatusNoContent:
		last, _ := strconv.ParseUint(msg.Header.Get(jetstream.LastSequenceHeader), 10, 64) // with an error 0
		if torn && !p.tear(last) {
			return p, errNumber
		}
		var err error
		p.pending, err = strconv.ParseUint(msg.Header.Get("Nats-Num-Pending"), 10, 64)
		return p, err
	case http.StatusNotFound:
		return p, nil
	}
	return p, fmt.Errorf("nats: the stream answers %s %s", status, msg.Header.Get("Description"))
}

// tear notes torn messages, by the number of the last of them.
func (p *page) tear(last uint64) bool {
	if last <= p.last {
		return false
	}
	p.messages, p.last = append(p.messages, tornAt(last)), last
	return true
}

// tornAt stands for torn messages that follow each other, and has but the number of the last of them.
func tornAt(number uint64) *nats.Msg {
	return &nats.Msg{Header: nats.Header{jetstream.SequenceHeader: {strconv.FormatUint(number, 10)}}}
}

// isTorn says whether a message of a page stands for torn ones: each that came has a subject.
func isTorn(msg *nats.Msg) bool { return msg.Subject == "" }

// What the server puts behind a block of headers has so many bytes at least. What is around headers has fewer.
const serverBytes = 100

// hides says whether a message is torn: its block of headers has more in it than was read.
func hides(msg *nats.Msg) bool {
	hidden := msg.Size() - len(msg.Subject) - len(msg.Reply) - len(msg.Data)
	for key, values := range msg.Header {
		for _, value := range values {
			hidden -= len(key) + len(value) + len(": \r\n")
		}
	}
	return hidden >= serverBytes
}
