package interop_test

import (
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/socketpath"
	"github.com/millrace/millrace/server"
)

// recipe is the block of docs/balancers.md that is in this language and has all these
// words, with what is of the reader's own replaced.
func recipe(t *testing.T, language string, words []string, replace ...string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/balancers.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for i, block := range strings.Split(string(page), "\n```") { // every second stands between fences
		text, has := strings.CutPrefix(block, language+"\n")
		has = has && i%2 == 1
		for _, word := range words {
			has = has && strings.Contains(text, word)
		}
		if has {
			found = append(found, text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("docs/balancers.md has %d recipes in %s with %q, want one", len(found), language, words)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(found[0], replace[i]) {
			t.Fatalf("the recipe lacks %q:\n%s", replace[i], found[0])
		}
		found[0] = strings.Replace(found[0], replace[i], replace[i+1], 1)
	}
	return found[0] + "\n"
}

// haproxyRecipe runs one of HAProxy's, on a socket with TLS or without, in front of the
// server at addr. Nothing stands around it: HAProxy's own defaults hold, such as mode tcp.
func haproxyRecipe(word string) func(t *testing.T, addr string, secure bool) *balancer {
	return func(t *testing.T, addr string, secure bool) *balancer {
		program := needBalancer(t, "haproxy", "haproxy")
		pem := filepath.Join(t.TempDir(), "balancer.pem")
		writeFile(t, pem, certificate(t))
		bind := "fd@3"
		if secure {
			bind += " ssl crt " + pem
		}
		if strings.HasPrefix(addr, "/") {
			addr = "unix@" + addr
		}
		config := recipe(t, "haproxy", []string{"frontend in", word}, ":443 ssl crt /etc/haproxy/site.pem", bind, "10.0.0.5:8080", addr)
		config = strings.Replace(config, "check port 9090", "check", 1) // the backend has no other
		return startBalancer(t, config, map[string]string{}, func(file string) *exec.Cmd { return exec.Command(program, "-db", "-f", file) })
	}
}

// TestRecipeOnOneMachine: with HAProxy on the clients' machine, and from an address of its
// own, a client counts for its address.
func TestRecipeOnOneMachine(t *testing.T) {
	t.Parallel()
	program := needBalancer(t, "haproxy", "haproxy")
	back := startBackend(t, func(s *server.Server) {
		s.Proxy.Trusted, s.Limits.ConnsPerAddr = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}, 2
	})
	config := recipe(t, "haproxy", []string{"frontend try"}, "127.0.0.1:8000", "fd@3", "127.0.0.1:8080", back.addr)
	b := startBalancer(t, config, map[string]string{}, func(file string) *exec.Cmd { return exec.Command(program, "-db", "-f", file) })
	for range 2 {
		b.connect("ws", nil)
	}
	b.expectRefusal("ws", http.StatusServiceUnavailable, nil)
}

const nginxRecipeHTTP = nginxHTTPHead + `
		{{.Recipe}}
	}
}
`

func nginxRecipe(t *testing.T, addr string, secure bool) *balancer {
	if strings.HasPrefix(addr, "/") {
		addr = "unix:" + addr
	}
	values := map[string]string{"Recipe": recipe(t, "nginx", []string{"location /", "proxy_pass"}, "10.0.0.5:8080", addr), "Listen": "", "Modules": ""}
	if secure {
		values["Listen"] = "ssl"
	}
	return startNginx(t, nginxRecipeHTTP, values)
}

func nginxStreamRecipe(t *testing.T, addr string, _ bool) *balancer {
	if strings.HasPrefix(addr, "/") {
		addr = "unix:" + addr
	}
	if _, err := os.Stat(streamModule); err != nil {
		t.Skipf("no %s: install Debian's package libnginx-mod-stream", streamModule)
	}
	config := recipe(t, "nginx", []string{"proxy_protocol on"}, "10.0.0.5:8080", addr, "listen 80", "listen {{.Addr}}")
	return startNginx(t, nginxHead+"stream {\n"+config+"}\n", map[string]string{"Modules": "load_module " + streamModule + ";"})
}

// lies are what a client may say of itself, each alone and all together.
func lies(secure bool) []http.Header {
	scheme := "https"
	if secure {
		scheme = "http"
	}
	each := []http.Header{
		{"X-Forwarded-For": {"198.51.100.66"}},
		{"X-Forwarded-For": {"198.51.100.66, 127.0.0.1", "127.0.0.1"}},
		{"X-Forwarded-Proto": {scheme}},
		{"X-Forwarded-Proto": {scheme, scheme + ", " + scheme}},
		{"X-Forwarded-Host": {"elsewhere.example"}},
		{"X-Forwarded-Host": {"elsewhere.example:1, elsewhere.example"}},
		{"X-Forwarded-Port": {"444"}},
		{"Forwarded": {"for=198.51.100.67;proto=" + scheme + ";host=elsewhere.example"}},
		{"Forwarded": {`for="127.0.0.1`, "for=127.0.0.1"}},
	}
	all := http.Header{}
	for _, header := range each {
		for name, values := range header {
			all[name] = append(all[name], values...)
		}
	}
	return append(each, all, http.Header{})
}

// Ways from the client to the balancer, and from there to the server.
const (
	overTLS = 1 << iota
	toUnix
	everyWay = overTLS | toUnix
)

// TestRecipes runs the recipes of docs/balancers.md, to a server on a port and on a Unix
// socket: the client is who it is, and the origin what it is, whatever the client says.
func TestRecipes(t *testing.T) {
	recipes := map[string]struct {
		start func(t *testing.T, addr string, secure bool) *balancer
		proxy bool // it sends PROXY headers
		ways  int  // besides in the clear, to a port
	}{
		"HAProxy, PROXY":     {haproxyRecipe("send-proxy-v2-ssl"), true, everyWay},
		"HAProxy, forwarded": {haproxyRecipe("X-Forwarded-Proto"), false, everyWay},
		"nginx":              {nginxRecipe, false, everyWay},
		"nginx, stream":      {nginxStreamRecipe, true, toUnix},
		"Caddy":              {caddyRecipe, false, everyWay},
		"Apache":             {apacheRecipe, false, overTLS},
		"lighttpd":           {lighttpdRecipe, false, toUnix},
		"Varnish":            {varnishRecipe, false, 0},
		"Squid":              {squidRecipe, false, 0},
	}
	for name, r := range recipes {
		for way, called := range []string{"plain", "TLS", "plain, Unix socket", "TLS, Unix socket"} {
			if way&^r.ways != 0 {
				continue
			}
			t.Run(name+", "+called, func(t *testing.T) {
				t.Parallel()
				back := startBackend(t, func(s *server.Server) {
					if way&toUnix != 0 {
						s.Addr, s.Proxy.TrustUnix, s.Proxy.Protocol = "unix:"+socketpath.New(t), true, r.proxy
						return
					}
					trusting(s)
					s.Proxy.Protocol = r.proxy
				})
				secure := way&overTLS != 0
				b := r.start(t, back.addr, secure)
				for _, header := range lies(secure) {
					expectTruth(t, b, secure, r.proxy, header)
				}
			})
		}
	}
}

// expectTruth connects with a lie, from the page's own origin and from those that it would
// be if the lie were believed.
func expectTruth(t *testing.T, b *balancer, secure, port bool, lie http.Header) {
	t.Helper()
	scheme, own, others := "ws", "http://", []string{"https://"}
	if secure {
		scheme, own, others = "wss", "https://", []string{"http://"}
	}
	from := func(origin string) http.Header {
		header := lie.Clone()
		header.Set("Origin", origin)
		return header
	}
	b.expectClient(scheme, clientHost, port, secure, from(own+b.addr))
	for _, other := range []string{others[0] + b.addr, own + "elsewhere.example", others[0] + "elsewhere.example", own + "127.0.0.1:444", own + "elsewhere.example:444"} {
		b.expectRefusal(scheme, http.StatusForbidden, from(other))
	}
	if t.Failed() {
		t.Fatalf("with %v", lie)
	}
}
