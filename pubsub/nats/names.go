package nats

import (
	"hash/fnv"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/pubsub"
)

// partitions is how many subjects ByPartition has.
const partitions = 1024

// maxSubject bounds a subject, in bytes: the server takes lines of 4,096.
const maxSubject = 2048

// emptyLevel is the token of a level without a character.
const emptyLevel = "%00"

// naming maps names to subjects and back.
type naming struct {
	prefix   string // with its dot, or empty
	interest Interest
}

// escapes are the characters of a level that are written as %XX.
var escapes = func() (e [256]bool) {
	for c := range ' ' + 1 {
		e[c] = true
	}
	for _, c := range ".*>%\x7f" {
		e[c] = true
	}
	return e
}()

// escaped says whether a character of a level is written as %XX. first: it is the name's first.
func escaped(c byte, first bool) bool { return escapes[c] || first && (c == '$' || c == '_') }

// tokens is a name, or a filter, as a subject without partition, behind a prefix.
func tokens(prefix, name string) string {
	var to strings.Builder
	to.Grow(len(prefix) + len(name) + 8)
	to.WriteString(prefix)
	begin := true // of a level
	for i := range len(name) {
		switch c := name[i]; {
		case c == '/':
			if begin {
				to.WriteString(emptyLevel)
			}
			to.WriteByte('.')
		case c == '+': // a level of its own: it is a filter
			to.WriteByte('*')
		case c == '#': // likewise
			to.WriteByte('>')
		case escaped(c, i == 0):
			const digits = "0123456789ABCDEF"
			to.WriteByte('%')
			to.WriteByte(digits[c>>4])
			to.WriteByte(digits[c&15])
		default:
			to.WriteByte(c)
		}
		begin = name[i] == '/'
	}
	if begin {
		to.WriteString(emptyLevel)
	}
	return to.String()
}

// partition is that of a topic: FNV-1a (32 bits) of its tokens, modulo 1,024.
func partition(tokens string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(tokens)) // never fails
	return strconv.Itoa(int(hash.Sum32() % partitions))
}

// subject is what a topic's messages are published to.
func (n naming) subject(topic string) string {
	if n.interest == ByPartition {
		t := tokens("", topic)
		return n.prefix + partition(t) + "." + t
	}
	return tokens(n.prefix, topic)
}

// matching gives subjects that meet those of a filter's topics, or of the topic of that name,
// and nothing else.
func (n naming) matching(name string) []string {
	if !pubsub.IsFilter(name) {
		return []string{n.subject(name)}
	}
	prefix := n.prefix
	if n.interest == ByPartition {
		prefix += "*."
	}
	t := tokens(prefix, name)
	if above, ok := strings.CutSuffix(t, ".>"); ok && strings.HasSuffix(name, "/#") {
		return []string{t, above} // a/# meets a too
	}
	return []string{t}
}

// wanted gives the subjects to subscribe to for a name.
func (n naming) wanted(name string) []string {
	switch {
	case n.interest == All:
		return []string{n.prefix + ">"}
	case n.interest == ByPartition && !pubsub.IsFilter(name):
		return []string{n.prefix + partition(tokens("", name)) + ".>"}
	}
	return n.matching(name)
}

// topic is the inverse of subject. ok is false if the subject is no topic's.
func (n naming) topic(subject string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(subject, n.prefix)
	if ok && n.interest == ByPartition {
		_, rest, ok = strings.Cut(rest, ".")
	}
	if !ok || rest == "" || len(rest) > maxSubject {
		return "", false
	}
	var to strings.Builder
	to.Grow(len(rest))
	plain := true // nothing is escaped, nor has to be
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '.':
			plain = plain && i > 0 && rest[i-1] != '.'
			to.WriteByte('/')
		case c != '%':
			plain = plain && c != '/' && !escaped(c, i == 0)
			to.WriteByte(c)
		case i+2 >= len(rest):
			return "", false
		default:
			plain = false
			value, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			if value != 0 { // else an empty level
				to.WriteByte(byte(value))
			}
			i += 2
		}
	}
	name = to.String()
	if !utf8.ValidString(name) || pubsub.IsFilter(name) || strings.HasPrefix(name, "$") {
		return "", false
	}
	// What is escaped otherwise than by us would have a topic two subjects, and so no order.
	plain = plain && n.interest != ByPartition && !strings.HasSuffix(rest, ".")
	return name, plain || n.subject(name) == subject
}
