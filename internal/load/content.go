package load

import (
	"math/rand/v2"

	"github.com/millrace/millrace/bench/result"
)

// content makes the payloads: each is a window of one table of text, at a place and
// of a size that follow from the seed, the connection and the message's number. So a
// payload needs no memory until it is sent, what comes back is compared as it
// arrives, and a byte changed, a message lost, doubled or out of order shows.
type content struct {
	seed     uint64
	min, max int
	table    []byte
	script   *script // of the table; nil: its windows may begin and end anywhere
}

// places is how many windows the table has; a power of two. Two messages of 8
// bytes and more are alike once in so many times.
const places = 64 << 10

func newContent(p *plan) *content {
	c := &content{seed: p.Seed, min: p.MinSize, max: p.MaxSize}
	if p.Scenario == result.Broadcast {
		c.min, c.max = c.min-markSize, c.max-markSize
	}
	random := rand.New(rand.NewPCG(p.Seed, 0))
	if s, ok := scripts[p.Text]; ok {
		vocabulary := 0
		if p.compresses() {
			vocabulary = 256
		}
		c.script, c.table = &s, make([]byte, s.room(c.max))
		s.write(c.table, random, vocabulary)
		return c
	}
	c.table = make([]byte, places+c.max)
	if p.Text == TextJSON {
		writeJSON(c.table, random)
		return c
	}
	for i := range c.table {
		c.table[i] = headLetters[random.Uint64()%uint64(len(headLetters))]
	}
	if p.Text == TextWords {
		c.repeatWords(random)
	}
	return c
}

// repeatWords makes the table of words, 64 of them in random order, as repetitive
// as the messages that people compress: fast compressors leave random letters as
// they are.
func (c *content) repeatWords(random *rand.Rand) {
	var words [64][]byte
	for i := range words {
		words[i] = append(append([]byte(nil), c.table[10*i:][:3+random.IntN(7)]...), ' ')
	}
	for at := 0; at < len(c.table); {
		at += copy(c.table[at:], words[random.IntN(len(words))])
	}
}

// message is the payload of a connection's message, or what follows the head of a
// published one; it must not be changed.
func (c *content) message(connection, number uint32) []byte {
	h := mix(c.seed ^ (uint64(connection)<<32 | uint64(number)))
	at, size := int(h%places), c.min
	if c.max > c.min {
		size += int((h >> 32) % uint64(c.max-c.min+1))
	}
	if c.script != nil {
		at = c.script.window(at, size)
	}
	return c.table[at : at+size]
}

// mix is the finalizer of SplitMix64: each bit of x changes half of the result's.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
