package interop_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/ws"
)

// gorillaClient is github.com/gorilla/websocket.
type gorillaClient struct{ *websocket.Conn }

func dialGorilla(url, origin string, subprotocols ...string) (client, int, error) {
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	d := websocket.Dialer{
		Subprotocols: subprotocols, WriteBufferSize: 1000, HandshakeTimeout: patience, TLSClientConfig: unverified,
	}
	conn, resp, err := d.Dial(url, header)
	if err != nil {
		if resp == nil {
			return nil, 0, err
		}
		return nil, resp.StatusCode, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience)) // has no error
	return gorillaClient{conn}, resp.StatusCode, nil
}

// send cuts a message by filling the write buffer, the one way gorilla has: a
// frame ends where a piece is longer than it, so a short piece is not a frame.
func (c gorillaClient) send(op ws.Opcode, pieces ...string) error {
	if len(pieces) == 1 {
		return c.WriteMessage(int(op), []byte(pieces[0]))
	}
	w, err := c.NextWriter(int(op))
	if err != nil {
		return err
	}
	for _, piece := range pieces {
		if _, err := w.Write([]byte(piece)); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c gorillaClient) receive() (ws.Opcode, string, error) {
	op, payload, err := c.ReadMessage()
	return ws.Opcode(op), string(payload), err
}

func (c gorillaClient) ping() error {
	pong := ""
	c.SetPongHandler(func(payload string) error { pong = payload; return nil })
	if err := c.WriteControl(websocket.PingMessage, []byte("echo this"), time.Now().Add(patience)); err != nil {
		return err
	}
	if err := c.send(ws.Text, "behind the ping"); err != nil {
		return err
	}
	_, text, err := c.receive() // handles the pong on the way
	if pong != "echo this" || text != "behind the ping" {
		return fmt.Errorf("pong %q, then %q, %w", pong, text, err)
	}
	return err
}

func (c gorillaClient) close(code ws.Code, reason string) error {
	payload := websocket.FormatCloseMessage(int(code), reason)
	if err := c.WriteControl(websocket.CloseMessage, payload, time.Now().Add(patience)); err != nil {
		return err
	}
	got, _, err := c.closedWith()
	if err == nil && got != code {
		return fmt.Errorf("answered with %d", got)
	}
	return err
}

func (c gorillaClient) closedWith() (ws.Code, string, error) {
	var end *websocket.CloseError
	_, text, err := c.receive()
	if !errors.As(err, &end) {
		return 0, "", fmt.Errorf("received %.60q, %w", text, err)
	}
	return ws.Code(end.Code), end.Text, nil
}

func (c gorillaClient) subprotocol() string { return c.Subprotocol() }
func (c gorillaClient) abandon()            { _ = c.Conn.Close() }
