package serve

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// listenOptions are where the server listens, and for whom.
type listenOptions struct {
	address string
	mode    fs.FileMode
	origins []string
	hosts   []string
}

func (l *listenOptions) options() []flags.Option {
	return []flags.Option{
		flags.New("listen", "ADDRESS", "HOST:PORT to listen on, no host is all of the machine, port 0 a free one; or unix:PATH, a\n"+
			"Unix socket; or fd:3, a listening socket that the process is given, as by systemd",
			"127.0.0.1:8080", endpoint(&l.address)).Sets("Addr").Once(),
		flags.New("listen-mode", "MODE", "permissions of the socket's file of --listen unix:PATH, in octal: who may write may connect", "0660", permissions(&l.mode)).Sets("Runtime.SocketMode"),
		flags.New("origin", "ORIGINS", "origins of pages that may connect besides the server's own, separated by commas\n"+
			"(repeatable): https://example.com, https://*.example.com, http://localhost:*,\n"+
			"capacitor://localhost, chrome-extension://ID, file://, null; * is every page", "", flags.List(&l.origins, origin)).Sets("Origin.Allow").Listed(),
		flags.New("host", "HOSTS", "hosts that WebSockets may be for, separated by commas (repeatable): example.com,\n"+
			"*.example.com, 192.0.2.1:8080; others get 421; none is all", "", flags.List(&l.hosts, host)).Sets("Origin.Hosts").Listed(),
	}
}

func (l *listenOptions) check(v flags.Values) error {
	if l.mode != 0o660 && !strings.HasPrefix(l.address, unixPrefix) {
		return fmt.Errorf("%s says nothing without --listen unix:PATH", v["listen-mode"].Source)
	}
	return nil
}

func (l *listenOptions) apply(s *server.Server) error {
	s.Origin.Allow, s.Origin.Hosts, s.Runtime.SocketMode = l.origins, l.hosts, l.mode
	return nil
}
