package interop_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/coder/websocket"

	"github.com/millrace/millrace/ws"
)

// coderClient is github.com/coder/websocket.
type coderClient struct {
	*websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
}

func dialCoder(url, origin string, subprotocols ...string) (client, int, error) {
	options := &websocket.DialOptions{
		Subprotocols: subprotocols, HTTPHeader: http.Header{},
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: unverified}},
	}
	if origin != "" {
		options.HTTPHeader.Set("Origin", origin)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	conn, resp, err := websocket.Dial(ctx, url, options)
	if err != nil {
		cancel()
		if resp == nil {
			return nil, 0, err
		}
		return nil, resp.StatusCode, err
	}
	conn.SetReadLimit(-1)
	return coderClient{conn, ctx, cancel}, resp.StatusCode, nil
}

func (c coderClient) send(op ws.Opcode, pieces ...string) error {
	if len(pieces) == 1 {
		return c.Write(c.ctx, websocket.MessageType(op), []byte(pieces[0]))
	}
	w, err := c.Writer(c.ctx, websocket.MessageType(op))
	if err != nil {
		return err
	}
	for _, piece := range pieces {
		if _, err := w.Write([]byte(piece)); err != nil { // a frame
			return err
		}
	}
	return w.Close()
}

func (c coderClient) receive() (ws.Opcode, string, error) {
	op, payload, err := c.Read(c.ctx)
	return ws.Opcode(op), string(payload), err
}

func (c coderClient) ping() error {
	received := make(chan error, 1)
	go func() { // Ping needs a reader
		_, text, err := c.receive()
		if text != "behind the ping" {
			err = fmt.Errorf("received %q, %w", text, err)
		}
		received <- err
	}()
	err := c.Ping(c.ctx)
	return errors.Join(err, c.send(ws.Text, "behind the ping"), <-received)
}

func (c coderClient) close(code ws.Code, reason string) error {
	return c.Close(websocket.StatusCode(code), reason)
}

func (c coderClient) closedWith() (ws.Code, string, error) {
	var end websocket.CloseError
	_, text, err := c.receive()
	if !errors.As(err, &end) {
		return 0, "", fmt.Errorf("received %.60q, %w", text, err)
	}
	return ws.Code(end.Code), end.Reason, nil
}

func (c coderClient) subprotocol() string { return c.Subprotocol() }

func (c coderClient) abandon() {
	_ = c.CloseNow()
	c.cancel()
}
