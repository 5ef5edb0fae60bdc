package frames

import (
	"bytes"
	"compress/flate"
	"io"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/millrace/millrace/bench/peers/peer"
)

// Upgrade answers the upgrade request of a connection, and agrees on
// permessage-deflate without context takeover, if it may and the client offers it.
func (e *Echo) Upgrade(c io.ReadWriter, deflate bool) error {
	if !deflate {
		_, err := ws.Upgrade(c)
		return err
	}
	extension := wsflate.Extension{Parameters: wsflate.DefaultParameters}
	upgrader := ws.Upgrader{Negotiate: extension.Negotiate}
	_, err := upgrader.Upgrade(c)
	_, e.deflate = extension.Accepted()
	return err
}

// codec inflates and deflates one message at a time. wsflate's own helpers make
// such a one for each message, and compress at level 9; its Reader and Writer can
// be used again if what they wrap has a Reset.
type codec struct {
	reader        *wsflate.Reader
	writer        *wsflate.Writer
	plain, packed bytes.Buffer
	frame         []byte
}

var codecs = sync.Pool{New: func() any {
	return &codec{
		reader: wsflate.NewReader(nil, func(r io.Reader) wsflate.Decompressor { return inflater{flate.NewReader(r)} }),
		writer: wsflate.NewWriter(nil, func(w io.Writer) wsflate.Compressor {
			f, _ := flate.NewWriter(w, flate.BestSpeed) // as the other libraries in Go; no error is possible
			return f
		}),
	}
}}

// inflater makes a wsflate.ReadResetter of a flate reader.
type inflater struct{ io.ReadCloser }

func (i inflater) Reset(r io.Reader) { _ = i.ReadCloser.(flate.Resetter).Reset(r, nil) }

// deflated writes what waits, and a message behind it, compressed.
func deflated(waiting []byte, opcode ws.OpCode, message []byte, packed bool, to io.Writer) error {
	c := codecs.Get().(*codec)
	defer codecs.Put(c)
	if packed {
		c.reader.Reset(bytes.NewReader(message))
		c.plain.Reset()
		if _, err := c.plain.ReadFrom(io.LimitReader(c.reader, peer.MaxMessage+1)); err != nil {
			return err
		}
		if message = c.plain.Bytes(); len(message) > peer.MaxMessage {
			return ErrTooLong
		}
	}
	c.packed.Reset()
	c.writer.Reset(&c.packed)
	if _, err := c.writer.Write(message); err != nil {
		return err
	}
	if err := c.writer.Flush(); err != nil {
		return err
	}
	c.frame = appendFrame(append(c.frame[:0], waiting...), byte(opcode)|compressed<<4, c.packed.Bytes())
	_, err := to.Write(c.frame)
	return err
}
