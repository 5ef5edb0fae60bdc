package interop_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/server"
)

// nginxHead goes before all configurations: in the foreground, writing nothing
// outside its folder. With an inherited socket it needs a master process.
const nginxHead = `
daemon off;
{{.User}}
worker_processes 1;
pid {{.Dir}}/pid;
error_log stderr warn;
{{.Modules}}
events { worker_connections 100; }
`

// nginxHTTPHead begins a server of HTTP, which the rest is of.
const nginxHTTPHead = nginxHead + `
http {
	access_log off;
	client_body_temp_path {{.Dir}}/body;
	proxy_temp_path {{.Dir}}/proxy;
	fastcgi_temp_path {{.Dir}}/fastcgi;
	uwsgi_temp_path {{.Dir}}/uwsgi;
	scgi_temp_path {{.Dir}}/scgi;
	ssl_certificate {{.PEM}};
	ssl_certificate_key {{.PEM}};
	server {
		listen {{.Addr}} {{.Listen}};
`

const nginxHTTP = nginxHTTPHead + `
		location / {
			proxy_pass http://{{.Server}};
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_set_header Host $http_host;
			proxy_read_timeout {{.Idle}};
			proxy_send_timeout {{.Idle}};
{{.Location}}
		}
	}
}
`

const nginxStream = nginxHead + `
stream {
	server {
		listen {{.Addr}};
		proxy_pass {{.Server}};
		proxy_timeout {{.Idle}};
{{.Location}}
	}
}
`

// nginx is what varies; empty is the default.
type nginx struct {
	stream   bool   // as a proxy of bytes
	idle     string // "60s"
	listen   string // options of the listening socket
	location string // lines
}

// streamModule is where Debian has it.
const streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// start runs nginx in front of the server at addr.
func (n nginx) start(t *testing.T, addr string) *balancer {
	t.Helper()
	values := map[string]string{"Modules": "", "Listen": n.listen, "Server": addr, "Idle": orElse(n.idle, "60s"), "Location": n.location}
	config := nginxHTTP
	if n.stream {
		config = nginxStream
		if _, err := os.Stat(streamModule); err != nil {
			t.Skipf("no %s: install Debian's package libnginx-mod-stream", streamModule)
		}
		values["Modules"] = "load_module " + streamModule + ";"
	}
	return startNginx(t, config, values)
}

// startNginx runs nginx with a configuration that begins with nginxHead.
func startNginx(t *testing.T, config string, values map[string]string) *balancer {
	t.Helper()
	program := needBalancer(t, "nginx", "nginx")
	pem := filepath.Join(t.TempDir(), "balancer.pem")
	writeFile(t, pem, certificate(t))
	values["PEM"], values["User"] = pem, ""
	if os.Getuid() == 0 {
		values["User"] = "user root;" // who may write into the folder
	}
	return startBalancer(t, config, values, func(file string) *exec.Cmd {
		cmd := exec.Command(program, "-p", filepath.Dir(file), "-e", "stderr", "-c", file)
		cmd.Env = append(os.Environ(), "NGINX=3;") // the listening socket, as from a former nginx
		return cmd
	})
}

// nginxForwards are lines as docs/balancers.md has them, see TestRecipes.
const nginxForwards = `
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header Forwarded "";
`

func TestNginx(t *testing.T) {
	lies := http.Header{"X-Forwarded-For": {"198.51.100.66"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=198.51.100.67"}}
	for name, test := range map[string]struct {
		proxy  nginx
		server func(*server.Server)
		scheme string
		host   string // whom the server sees
		port   bool   // and whether it knows the port
		secure bool
		header http.Header
	}{
		"plain":                  {nginx{}, trusting, "ws", "127.0.0.1", false, false, nil},
		"forwards":               {nginx{location: nginxForwards}, trusting, "ws", clientHost, false, false, nil},
		"forwards, lies":         {nginx{location: nginxForwards}, trusting, "ws", clientHost, false, false, lies},
		"forwards, not trusted":  {nginx{location: nginxForwards}, func(*server.Server) {}, "ws", "127.0.0.1", false, false, lies},
		"forwards, TLS":          {nginx{listen: "ssl", location: nginxForwards}, trusting, "wss", clientHost, false, true, lies},
		"stream":                 {nginx{stream: true}, trusting, "ws", "127.0.0.1", false, false, nil},
		"stream, proxy_protocol": {nginx{stream: true, location: "proxy_protocol on;"}, proxied, "ws", clientHost, true, false, lies},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := test.proxy.start(t, startBackend(t, test.server).addr)
			b.expectClient(test.scheme, test.host, test.port, test.secure, test.header)
			if test.secure {
				b.expectClient(test.scheme, test.host, test.port, true, http.Header{"Origin": {"https://" + b.addr}})
				b.expectRefusal(test.scheme, http.StatusForbidden, http.Header{"Origin": {"http://" + b.addr}})
			}
		})
	}
}

// TestNginxPassesTLS: as TestHAProxyPassesTLS.
func TestNginxPassesTLS(t *testing.T) {
	t.Parallel()
	b := nginx{stream: true, location: "proxy_protocol on;"}.start(t, startSecureBackend(t, proxied).addr)
	b.expectClient("wss", clientHost, true, true, http.Header{"Origin": {"https://" + b.addr}})
	expectHTTPClient(t, b)
}

// TestNginxPassesForwarded: nginx passes on a Forwarded that the client made up;
// beside what nginx writes itself it is refused.
func TestNginxPassesForwarded(t *testing.T) {
	t.Parallel()
	b := nginx{location: "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"}.start(t, startBackend(t, trusting).addr)
	b.expectClient("ws", clientHost, false, false, nil)
	b.expectRefusal("ws", http.StatusBadRequest, http.Header{"Forwarded": {"for=198.51.100.67"}})
}

// TestNginxIdle: as TestHAProxyIdle.
func TestNginxIdle(t *testing.T) {
	for name, proxy := range map[string]nginx{"http": {idle: "2s"}, "stream": {idle: "2s", stream: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy.start(t, startBackend(t, trusting).addr).expectCut()
			proxy.start(t, startBackend(t, pinging).addr).expectKept()
		})
	}
}

// TestChain: nginx in front of HAProxy in front of the server, each adding to
// X-Forwarded-For, or HAProxy telling of nginx by a PROXY header.
func TestChain(t *testing.T) {
	for name, test := range map[string]struct {
		proxy  haproxy
		server func(*server.Server)
	}{
		"X-Forwarded-For twice":         {haproxy{backend: "\toption forwardfor"}, trusting},
		"X-Forwarded-For, then PROXY":   {haproxy{mode: "tcp", server: "send-proxy-v2"}, proxied},
		"X-Forwarded-For, then nothing": {haproxy{}, trusting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner := test.proxy.start(t, startBackend(t, test.server).addr)
			nginx{location: nginxForwards}.start(t, inner.addr).expectClient("ws", clientHost, false, false, nil)
		})
	}
}
