// Command todo is a list of things to do for people who log in. It shows a login with
// a session cookie on the same port, the cookie checked before the upgrade, typed
// values, JSON both ways, one list shared by all windows of a person, and a logout that
// closes them.
//
// Start it in the folder examples:
//
//	go run ./todo
//
// and open http://127.0.0.1:8080/ in two windows. Log in as ann or bob, with the
// password tea. What one window adds, the other shows; log out in one, and both are
// logged out. Without a browser:
//
//	curl -i -d 'name=ann&password=tea' http://127.0.0.1:8080/login
//	npx wscat -c ws://127.0.0.1:8080/todos -H 'Cookie: session=...'
//	{"do":"add","text":"put the kettle on"}
//
// # Why the origin is checked
//
// A browser sends a site's cookies along with every request to it, whichever page has
// made the request; and the rules that keep scripts from reading other sites do not
// hold for WebSockets. Without a check any page on the web could open ws://.../todos as
// whoever looks at it, and read and write his list (cross-site WebSocket hijacking). A
// Server therefore refuses pages of other origins with 403, unless Origin.Allow lists
// them. Behind a balancer that ends TLS the server's own page may look like one: it is
// at https://, and the server sees http://. Then list the page's origin in
// Origin.Allow, or let the balancer tell (Proxy.Trusted). For the plain requests
// net/http has http.CrossOriginProtection.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/millrace/millrace/server"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	log.Printf("todo: starting on http://%s/", *addr)
	if err := newServer(*addr).Run(ctx, server.DrainOptions{}); err != nil {
		log.Fatal(err)
	}
}

func newServer(addr string) *server.Server {
	a := newApp()
	upgrades := &server.Mux{}
	upgrades.HandleUpgrade("/todos", a.admit)
	return &server.Server{
		Addr:    addr,
		Handler: a,
		Upgrade: upgrades.Upgrade,
		HTTP:    a.pages(),
		Limits:  server.Limits{Message: 4 << 10, MessageRate: 20},
		// The cookie is checked at the upgrade alone. So no connection lives for much
		// longer than a session: its page comes back, and is asked again who it is.
		Timeouts: server.Timeouts{Lifetime: sessionLifetime},
	}
}
