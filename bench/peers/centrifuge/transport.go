package main

import (
	"net"
	"sync"

	"github.com/centrifugal/centrifuge"
	"google.golang.org/protobuf/encoding/protowire"
)

// transport writes publications to a connection, and leaves out all else that the
// library would tell a client.
type transport struct{ c net.Conn }

func (transport) Name() string                                { return "plain" }
func (transport) AcceptProtocol() string                      { return "" }
func (transport) Protocol() centrifuge.ProtocolType           { return centrifuge.ProtocolTypeProtobuf }
func (transport) ProtocolVersion() centrifuge.ProtocolVersion { return centrifuge.ProtocolVersion2 }
func (transport) Unidirectional() bool                        { return true }
func (transport) Emulation() bool                             { return false }
func (transport) PingPongConfig() centrifuge.PingPongConfig   { return centrifuge.PingPongConfig{} }

func (transport) DisabledPushFlags() uint64 { return ^uint64(centrifuge.PushFlagPublication) }

func (t transport) Write(push []byte) error {
	_, err := t.c.Write(published(push))
	return err
}

var many = sync.Pool{New: func() any { return new([]byte) }}

// WriteMany writes up to 16 publications, the library's default, with one write.
func (t transport) WriteMany(pushes ...[]byte) error {
	frames := many.Get().(*[]byte)
	defer many.Put(frames)
	*frames = (*frames)[:0]
	for _, push := range pushes {
		*frames = append(*frames, published(push)...)
	}
	_, err := t.c.Write(*frames)
	return err
}

func (t transport) Close(centrifuge.Disconnect) error { return t.c.Close() }

// published gives the data of the publication in a push: field 4 of its field 4.
func published(push []byte) []byte {
	const publication, data = 4, 4
	return field(field(push, publication), data)
}

func field(message []byte, number protowire.Number) []byte {
	for len(message) > 0 {
		found, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		message = message[n:]
		if found == number && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			return value
		}
		if n = protowire.ConsumeFieldValue(found, kind, message); n < 0 {
			return nil
		}
		message = message[n:]
	}
	return nil
}
