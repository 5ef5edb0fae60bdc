package interop_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	gobwas "github.com/gobwas/ws"
	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// session is what the routers know when they hand a connection over.
type session struct{ user, room string }

// roomHandler answers with who said it where.
type roomHandler struct{}

func (roomHandler) Open(*server.Conn)         {}
func (roomHandler) Close(*server.Conn, error) {}

func (roomHandler) Message(c *server.Conn, m ws.Message) {
	s := c.Value().(session)
	_ = c.SendText(fmt.Sprintf("%s in %s: %s", s.user, s.room, m.Payload)) // closing: the client sees
}

// routers mount srv at /rooms/{room}, behind what people have in front of their
// handlers. Each panics at /panic.
var routers = map[string]func(srv *server.Server) http.Handler{
	"net/http": func(srv *server.Server) http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("/rooms/{room}", func(w http.ResponseWriter, r *http.Request) {
			_ = srv.Accept(w, r, server.Accept{Value: session{userOf(r), r.PathValue("room")}})
		})
		mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("the router's own fault") })
		return recovered(logged(zipped(authenticated(mux))))
	},
	"chi": func(srv *server.Server) http.Handler {
		r := chi.NewRouter()
		r.Use(middleware.RequestID, middleware.RequestLogger(quiet{}), middleware.Recoverer, middleware.Compress(5), authenticated)
		r.Handle("/rooms/{room}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = srv.Accept(w, r, server.Accept{Value: session{userOf(r), chi.URLParam(r, "room")}})
		}))
		r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("the router's own fault") })
		return r
	},
	"gin": func(srv *server.Server) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(gin.LoggerWithWriter(discard{}), gin.RecoveryWithWriter(discard{}), func(c *gin.Context) {
			user, _, ok := c.Request.BasicAuth()
			if !ok {
				c.AbortWithStatus(http.StatusUnauthorized)
			}
			c.Set("user", user)
		})
		r.Any("/rooms/:room", func(c *gin.Context) {
			_ = srv.Accept(c.Writer, c.Request, server.Accept{Value: session{c.GetString("user"), c.Param("room")}})
		})
		r.GET("/panic", func(*gin.Context) { panic("the router's own fault") })
		return r
	},
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// quiet logs nothing, but has chi wrap all the same.
type quiet struct{}

func (q quiet) NewLogEntry(*http.Request) middleware.LogEntry       { return q }
func (quiet) Write(_, _ int, _ http.Header, _ time.Duration, _ any) {}
func (quiet) Panic(any, []byte)                                     {}

type userKey struct{}

func userOf(r *http.Request) string { return r.Context().Value(userKey{}).(string) }

// authenticated lets in whoever has a name.
func authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, ok := r.BasicAuth()
		if !ok {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, user)))
	})
}

func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// logged wraps as a logger does that wants to know the status.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&statusWriter{ResponseWriter: w}, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// zipped compresses all that is written to it.
func zipped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&zipWriter{ResponseWriter: w}, r)
	})
}

type zipWriter struct {
	http.ResponseWriter
}

func (w *zipWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *zipWriter) Write(p []byte) (int, error) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w.ResponseWriter)
	defer func() { _ = z.Close() }() // to the client, which sees
	return z.Write(p)
}

// TestRouters hands connections over from routers: in the clear to the loops, with
// TLS and HTTP/2 to goroutines.
func TestRouters(t *testing.T) {
	for name, mount := range routers {
		t.Run(name, func(t *testing.T) {
			t.Run("HTTP/1.1", func(t *testing.T) { testRouter(t, mount, false) })
			t.Run("TLS", func(t *testing.T) { testRouter(t, mount, true) })
			t.Run("HTTP/2", func(t *testing.T) { testRouterHTTP2(t, mount) })
		})
	}
}

// basicAuth is the header of somebody called Ada.
var basicAuth = http.Header{"Authorization": {"Basic QWRhOg=="}}

func testRouter(t *testing.T, mount func(*server.Server) http.Handler, secure bool) {
	srv := &server.Server{Handler: roomHandler{}, Logger: slog.New(slog.DiscardHandler)}
	web := httptest.NewUnstartedServer(mount(srv))
	bridged := int64(0)
	if web.Start(); secure {
		web.Close()
		web = httptest.NewTLSServer(mount(srv))
		bridged = 1
	}
	t.Cleanup(func() {
		web.Close()
		_ = srv.Close() // always nil
	})
	d := websocket.Dialer{TLSClientConfig: certOf(web)}
	url := "ws" + strings.TrimPrefix(web.URL, "http")
	for path, c := range map[string]struct {
		header http.Header
		status int
	}{
		"/rooms/7": {nil, 401},
		"/none":    {basicAuth, 404},
		"/rooms/8": {http.Header{"Authorization": basicAuth["Authorization"], "Origin": {"http://evil.example"}}, 403},
	} {
		if _, resp, err := d.Dial(url+path, c.header); resp == nil || resp.StatusCode != c.status {
			t.Errorf("%s: %v, %v; want %d", path, resp, err, c.status)
		}
	}
	r, _ := http.NewRequest("GET", web.URL+"/panic", nil)
	r.Header = basicAuth
	if resp, err := web.Client().Do(r); err != nil || resp.StatusCode != 500 {
		t.Errorf("/panic: %v, %v; want 500", resp, err)
	}
	conn, _, err := d.Dial(url+"/rooms/go", basicAuth)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the test is over
	if err := conn.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := conn.ReadMessage(); err != nil || string(text) != "Ada in go: hello" {
		t.Errorf("%q, %v", text, err)
	}
	if s := srv.Stats(); s.Open != 1 || s.Bridged != bridged {
		t.Errorf("%d connections, of which %d are bridged; want 1 and %d", s.Open, s.Bridged, bridged)
	}
}

func testRouterHTTP2(t *testing.T, mount func(*server.Server) http.Handler) {
	web, srv := startHTTP2(t, func(srv *server.Server) { srv.Handler = roomHandler{} })
	web.Config.Handler = mount(srv)
	transport := http2Client(t)
	if s := open(t, transport, web.URL+"/rooms/7", nil); s.resp.StatusCode != 401 {
		t.Errorf("status %d, want 401", s.resp.StatusCode)
	}
	s := open(t, transport, web.URL+"/rooms/go", basicAuth)
	if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Encoding") != "" {
		t.Fatalf("%s with %v", s.resp.Status, s.resp.Header)
	}
	s.send(t, gobwas.OpText, "hello")
	s.expect(t, gobwas.OpText, "Ada in go: hello")
	s.send(t, gobwas.OpClose, "")
	s.expect(t, gobwas.OpClose, "")
	s.expectEnd(t)
}

// certOf is a client's configuration for web's own certificate; nil if it has
// none.
func certOf(web *httptest.Server) *tls.Config {
	if web.TLS == nil {
		return nil
	}
	return web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}
