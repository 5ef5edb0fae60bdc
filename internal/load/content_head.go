package load

import "time"

// A published message begins with a head that says whose it is, since those of
// several publishers come to a receiver in any order: the publisher's connection,
// the message's number among the publisher's, and when it was due, on the clock of
// all processes. It is of letters, as the rest may be text.

// markSize is the least size of a published message.
const markSize = publisherDigits + numberDigits + dueDigits

// How many letters, of six bits each.
const (
	publisherDigits = 4
	numberDigits    = 6
	dueDigits       = 10
)

// maxPublishers is how many a head can tell apart.
const maxPublishers = 1 << (6 * publisherDigits)

const headLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// headValues are the letters' values; 0xff is of none.
var headValues = func() (values [256]byte) {
	for i := range values {
		values[i] = 0xff
	}
	for value, letter := range []byte(headLetters) {
		values[letter] = byte(value)
	}
	return values
}()

// head is what a published message says of itself.
type head struct {
	publisher uint32
	number    uint32
	due       time.Duration
}

// appendHead appends a head.
func appendHead(dst []byte, h head) []byte {
	dst = appendLetters(dst, uint64(h.publisher), publisherDigits)
	dst = appendLetters(dst, uint64(h.number), numberDigits)
	return appendLetters(dst, uint64(h.due), dueDigits)
}

func appendLetters(dst []byte, value uint64, digits int) []byte {
	for shift := 6 * (digits - 1); shift >= 0; shift -= 6 {
		dst = append(dst, headLetters[value>>shift&63])
	}
	return dst
}

// parseHead reads a head, which is near now in time: it has not all bits of when
// the message was due.
func parseHead(b []byte, now time.Duration) (h head, ok bool) {
	publisher, ok1 := parseLetters(b[:publisherDigits])
	number, ok2 := parseLetters(b[publisherDigits:][:numberDigits])
	due, ok3 := parseLetters(b[publisherDigits+numberDigits:][:dueDigits])
	const unused = 64 - 6*dueDigits
	ago := int64((uint64(now)-due)<<unused) >> unused
	return head{uint32(publisher), uint32(number), now - time.Duration(ago)}, ok1 && ok2 && ok3 && number < 1<<32
}

func parseLetters(b []byte) (value uint64, ok bool) {
	for _, letter := range b {
		digit := headValues[letter]
		if digit == 0xff {
			return 0, false
		}
		value = value<<6 | uint64(digit)
	}
	return value, true
}

// publish makes a published message, in the memory of payload.
func (c *content) publish(payload []byte, h head) []byte {
	return append(appendHead(payload[:0], h), c.message(h.publisher, h.number)...)
}
