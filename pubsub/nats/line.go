package nats

import (
	"hash/maphash"
	"strings"
	"sync"
)

// line has the messages of some topics be numbered and received one after the other.
type line struct {
	sync.Mutex
	topic, subject string // kept of a topic that is published to again and again
	last           uint64 // hash of the topic that was published to last
}

// subjectOf is a topic's. The caller holds the line, which is that of the topic's hash.
func (l *line) subjectOf(n naming, topic string, hash uint64) string {
	if l.topic == topic && l.subject != "" {
		return l.subject
	}
	subject := n.subject(topic)
	if l.last == hash {
		l.topic, l.subject = strings.Clone(topic), subject
	}
	l.last = hash
	return subject
}

// line is that of a topic.
func (b *Broker) line(topic string) (l *line, hash uint64) {
	hash = maphash.String(b.seed, topic)
	return &b.lines[hash%uint64(len(b.lines))], hash
}

// heard are the topics of messages that came lately, each at a place by the hash of its subject.
type heard [1024]struct {
	subject, topic string
	line           *line
}

// topicOf gives a subject's topic and its line; nil: it is no topic's. The broker's own goroutine calls it.
func (s *session) topicOf(subject string) (string, *line) {
	b := s.broker
	h := &s.heard[maphash.String(b.seed, subject)%uint64(len(s.heard))]
	if h.line == nil || h.subject != subject {
		topic, ok := b.names.topic(subject)
		if !ok {
			return "", nil
		}
		h.subject, h.topic = subject, topic
		h.line, _ = b.line(topic)
	}
	return h.topic, h.line
}
