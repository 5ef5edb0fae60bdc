package serve

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// logged is a handler with its connections in a log, unless that is nil.
func logged(h server.Handler, log *slog.Logger) server.Handler {
	if log == nil {
		return h
	}
	return accessed{h, log}
}

// accessed is a Handler with two lines in the log for each connection. What is
// refused never gets here: Server.LogRefusals has it logged.
type accessed struct {
	server.Handler
	log *slog.Logger
}

// visit is what the second line tells of the first, kept as the connection's value.
type visit struct {
	path  string
	began time.Time
}

// Open implements server.Handler.
func (a accessed) Open(c *server.Conn) {
	r, status := c.Request(), http.StatusSwitchingProtocols
	if r.ExtendedConnect || r.EventStream() {
		status = http.StatusOK
	}
	c.SetValue(&visit{r.Path(), time.Now()})
	a.log.Info("connection opened", "remote", c.RemoteName(), "path", r.Path(), "status", status)
	a.Handler.Open(c)
}

// Close implements server.Handler.
func (a accessed) Close(c *server.Conn, err error) {
	v := c.Value().(*visit)
	end := &ws.CloseError{Code: ws.CodeAbnormal}
	errors.As(err, &end)
	by := "server"
	if server.ClosedByPeer(err) {
		by = "peer"
	}
	n := c.Stats()
	a.log.Info("connection closed", "remote", c.RemoteName(), "path", v.path, "code", int(end.Code), "by", by, "reason", end.Reason,
		"duration", time.Since(v.began).Round(time.Millisecond), "messages_in", n.MessagesIn, "messages_out", n.MessagesOut,
		"bytes_in", n.BytesIn, "bytes_out", n.BytesOut)
	a.Handler.Close(c, err)
}
