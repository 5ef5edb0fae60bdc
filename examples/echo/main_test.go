package main

import (
	"bytes"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

func TestEcho(t *testing.T) {
	p := program.Start(t)
	c := p.Dial("/", nil)
	c.SendText("tea")
	c.Expect("tea")

	sent := bytes.Repeat([]byte{0, 0xff}, 50_000)
	if err := c.WriteMessage(websocket.BinaryMessage, sent); err != nil {
		t.Fatal(err)
	}
	kind, got, err := c.ReadMessage()
	if kind != websocket.BinaryMessage || !bytes.Equal(got, sent) || err != nil {
		t.Errorf("received %d bytes of kind %d, %v", len(got), kind, err)
	}

	p.Signal()
	c.ExpectClose(websocket.CloseGoingAway)
	p.ExpectEnd()
}
