package peer

import (
	"bytes"
	"io"
	"sync"
)

// Messages is a connection of gorilla/websocket, or of its fork for fasthttp.
type Messages interface {
	SetReadLimit(limit int64)
	NextReader() (kind int, message io.Reader, err error)
	WriteMessage(kind int, message []byte) error
}

var messages = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Echo answers each message with itself until reading or writing fails.
//
// ReadMessage would allocate each message. NextReader returns when a message has
// begun, so only then a buffer is taken from the pool, and an idle connection
// holds none. WriteMessage is the documented way to write: its source has a
// "fast path with no allocations and single frame" for servers.
func Echo(c Messages) {
	c.SetReadLimit(MaxMessage)
	for echoOne(c) == nil {
	}
}

func echoOne(c Messages) error {
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
	return c.WriteMessage(kind, message.Bytes())
}
