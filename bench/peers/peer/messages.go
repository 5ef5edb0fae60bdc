package peer

import (
	"bytes"
	"io"
	"sync"
)

// Messages is a connection of gorilla/websocket, or of its fork for fasthttp.
// Prepared is a pointer to their PreparedMessage.
type Messages[Prepared any] interface {
	SetReadLimit(limit int64)
	NextReader() (kind int, message io.Reader, err error)
	WriteMessage(kind int, message []byte) error
	WritePreparedMessage(message Prepared) error
	Close() error
}

var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Echo answers each message with itself until reading or writing fails.
//
// WriteMessage is the documented way to write: its source has a "fast path with
// no allocations and single frame" for servers.
func Echo[Prepared any](c Messages[Prepared]) {
	c.SetReadLimit(MaxMessage)
	for receive(c, c.WriteMessage) == nil {
	}
}

// receive reads a message and gives it to the handler, until whose return it may
// be read.
//
// ReadMessage would allocate each message. NextReader returns when a message has
// begun, so only then a buffer is taken from the pool, and an idle connection
// holds none.
func receive[Prepared any](c Messages[Prepared], handle func(kind int, message []byte) error) error {
	kind, r, err := c.NextReader()
	if err != nil {
		return err
	}
	message := messages.Get().(*bytes.Buffer)
	defer messages.Put(message)
	message.Reset()
	if _, err := message.ReadFrom(r); err != nil {
		return err
	}
	return handle(kind, message.Bytes())
}

// text is the kind of a message that is text.
const text = 1

// queued is how many messages may wait for a connection's writer: what the
// example chat of gorilla has.
const queued = 256

// Room sends each message to all its connections. Prepare is the library's
// NewPreparedMessage, which frames and compresses once for all.
//
// One goroutine may write to a connection at a time ("Connections support one
// concurrent reader and one concurrent writer"), so each has a queue and a
// goroutine that writes, as in the example chat. That one cuts a connection whose
// queue is full; here the sender waits, so that nothing is lost under load.
//
// Texts go to Streams too, if there are some.
type Room[Prepared any] struct {
	Prepare func(kind int, message []byte) (Prepared, error)
	Streams *Streams
	members Hub[*member[Prepared]]
}

type member[Prepared any] struct {
	c     Messages[Prepared]
	queue chan Prepared
	ended chan struct{} // nobody reads any more
	done  chan struct{} // and nobody writes
}

// Serve broadcasts what a connection sends until reading fails, and closes it. When
// it comes back nothing uses the connection any more.
func (r *Room[Prepared]) Serve(c Messages[Prepared]) {
	m := &member[Prepared]{c: c, queue: make(chan Prepared, queued), ended: make(chan struct{}), done: make(chan struct{})}
	r.members.Open(m)
	go m.write()
	c.SetReadLimit(MaxMessage)
	for receive(c, r.send) == nil {
	}
	r.members.Close(m)
	close(m.ended)
	_ = c.Close()
	<-m.done
}

func (r *Room[Prepared]) send(kind int, message []byte) error {
	p, err := r.Prepare(kind, message)
	if err != nil {
		return err
	}
	for _, m := range r.members.All() {
		m.send(p)
	}
	if r.Streams != nil && kind == text {
		r.Streams.Send(message)
	}
	return nil
}

// send queues, and waits for room only if there is none: a select of two cases
// would cost each message.
func (m *member[Prepared]) send(p Prepared) {
	select {
	case m.queue <- p:
	default:
		select {
		case m.queue <- p:
		case <-m.ended:
		}
	}
}

// write writes what is queued. When it fails it closes the connection, which ends
// Serve.
func (m *member[Prepared]) write() {
	defer close(m.done)
	for {
		select {
		case p := <-m.queue:
			if m.c.WritePreparedMessage(p) != nil {
				_ = m.c.Close()
				return
			}
		case <-m.ended:
			return
		}
	}
}
