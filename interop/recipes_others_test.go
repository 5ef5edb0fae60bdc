package interop_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/server"
)

// The recipes of balancers that know no inherited socket: see startOnPort.

// hostPort splits a server's address; a Unix socket is a host without a port.
func hostPort(t *testing.T, addr string) (host, port string) {
	t.Helper()
	if strings.HasPrefix(addr, "/") {
		return addr, ""
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

// openTo lets other users into a folder of the test's, and read a file in it.
func openTo(t *testing.T, dir, file string) {
	t.Helper()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(file, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func caddyRecipe(t *testing.T, addr string, secure bool) *balancer {
	program := needBalancer(t, "caddy", "caddy")
	if strings.HasPrefix(addr, "/") {
		addr = "unix/" + addr
	}
	return startOnPort(t, func(b *balancer, port int) *exec.Cmd {
		site, secret := fmt.Sprintf("http://:%d {\n\tbind 127.0.0.1", port), ""
		if secure {
			secret = b.file("caddy.pem", certificate(t))
			site = fmt.Sprintf("https://:%d {\n\tbind 127.0.0.1\n\ttls %s %s", port, secret, secret)
		}
		config := "{\n\tadmin off\n\tauto_https off\n}\n" + recipe(t, "caddy", nil, "example.com {", site, "10.0.0.5:8080", addr)
		cmd := exec.Command(program, "run", "--adapter", "caddyfile", "--config", b.file("Caddyfile", []byte(config)))
		cmd.Env = append(os.Environ(), "HOME="+b.dir, "XDG_DATA_HOME="+b.dir, "XDG_CONFIG_HOME="+b.dir)
		return cmd
	})
}

// apacheModules is where Debian has them.
const apacheModules = "/usr/lib/apache2/modules"

func apacheRecipe(t *testing.T, addr string, secure bool) *balancer {
	return startApache(t, addr, secure, "")
}

// startApache runs the recipe, with more lines of configuration.
func startApache(t *testing.T, addr string, secure bool, more string) *balancer {
	program := needBalancer(t, "apache2", "apache2-bin")
	return startOnPort(t, func(b *balancer, port int) *exec.Cmd {
		var config strings.Builder
		for _, module := range []string{"mpm_event", "authz_core", "proxy", "proxy_http", "headers", "ssl"} {
			fmt.Fprintf(&config, "LoadModule %s_module %s/mod_%s.so\n", module, apacheModules, module)
		}
		fmt.Fprintf(&config, "ServerName balancer.test\nListen 127.0.0.1:%d\nPidFile %s/pid\nDefaultRuntimeDir %s\nErrorLog /dev/stderr\nMutex pthread\n", port, b.dir, b.dir)
		if os.Getuid() == 0 {
			config.WriteString("User nobody\nGroup nogroup\n")
		}
		if secure {
			pem := b.file("apache.pem", certificate(t))
			fmt.Fprintf(&config, "SSLEngine on\nSSLCertificateFile %s\nSSLCertificateKeyFile %s\n", pem, pem)
		}
		config.WriteString(recipe(t, "apache", nil, "10.0.0.5:8080", addr) + more)
		return exec.Command(program, "-X", "-d", b.dir, "-f", b.file("apache.conf", []byte(config.String())))
	})
}

func lighttpdRecipe(t *testing.T, addr string, _ bool) *balancer {
	return startLighttpd(t, addr, "")
}

func startLighttpd(t *testing.T, addr, more string) *balancer {
	program := needBalancer(t, "lighttpd", "lighttpd")
	host, port := hostPort(t, addr)
	back := fmt.Sprintf("%q, \"port\" => %s", host, port)
	if port == "" {
		back = fmt.Sprintf("%q", host)
	}
	return startOnPort(t, func(b *balancer, front int) *exec.Cmd {
		config := fmt.Sprintf("server.document-root = %q\nserver.bind = \"127.0.0.1\"\nserver.port = %d\n", b.dir, front) +
			recipe(t, "lighttpd", nil, `"10.0.0.5", "port" => 8080`, back) + more
		return exec.Command(program, "-D", "-f", b.file("lighttpd.conf", []byte(config)))
	})
}

func varnishRecipe(t *testing.T, addr string, _ bool) *balancer {
	return startVarnish(t, addr, "pipe_timeout=60")
}

func startVarnish(t *testing.T, addr, parameter string) *balancer {
	program := needBalancer(t, "varnishd", "varnish")
	host, port := hostPort(t, addr)
	return startOnPort(t, func(b *balancer, front int) *exec.Cmd {
		vcl := b.file("varnish.vcl", []byte(recipe(t, "vcl", nil,
			`.host = "10.0.0.5"`, fmt.Sprintf(".host = %q", host), `.port = "8080"`, fmt.Sprintf(".port = %q", port))))
		openTo(t, b.dir, vcl) // its worker is another user
		return exec.Command(program, "-F", "-a", fmt.Sprintf("127.0.0.1:%d", front), "-f", vcl, "-n", filepath.Join(b.dir, "varnish"), "-s", "malloc,10m", "-p", parameter)
	})
}

func squidRecipe(t *testing.T, addr string, _ bool) *balancer {
	return startSquid(t, addr, "")
}

func startSquid(t *testing.T, addr, more string) *balancer {
	program := needBalancer(t, "squid", "squid")
	host, port := hostPort(t, addr)
	return startOnPort(t, func(b *balancer, front int) *exec.Cmd {
		config := recipe(t, "squid", nil, "http_port 80", fmt.Sprintf("http_port 127.0.0.1:%d", front),
			"10.0.0.5 parent 8080", fmt.Sprintf("%s parent %s", host, port)) +
			fmt.Sprintf("pid_filename none\naccess_log none\ncache_log /dev/stderr\nlogfile_rotate 0\ncoredump_dir %s\nshutdown_lifetime 0 seconds\nvisible_hostname balancer.test\npinger_enable off\n", b.dir) + more
		file := b.file("squid.conf", []byte(config))
		openTo(t, b.dir, file) // it is another user
		return exec.Command(program, "-N", "-n", "millrace"+fmt.Sprint(front), "-f", file)
	})
}

// TestRecipeStunnel: stunnel's PROXY header names the client and does not tell that it
// came over TLS, so the page's origin has to be listed.
func TestRecipeStunnel(t *testing.T) {
	t.Parallel()
	program := needBalancer(t, "stunnel4", "stunnel4")
	var page string
	back := startBackend(t, func(s *server.Server) {
		proxied(s)
		s.Origin.Allow = []string{"https://page.example"}
		page = s.Origin.Allow[0]
	})
	b := startOnPort(t, func(b *balancer, port int) *exec.Cmd {
		config := "foreground = yes\npid =\n" + recipe(t, "stunnel", nil, "accept = 443", fmt.Sprintf("accept = 127.0.0.1:%d", port),
			"10.0.0.5:8080", back.addr, "/etc/stunnel/site.pem", b.file("stunnel.pem", certificate(t)))
		return exec.Command(program, b.file("stunnel.conf", []byte(config)))
	})
	for _, header := range lies(true) {
		header.Set("Origin", page)
		b.expectClient("wss", clientHost, true, false, header)
		header.Set("Origin", "https://"+b.addr)
		b.expectRefusal("wss", http.StatusForbidden, header)
	}
}

// TestRecipesIdle: the idle timeout of each is what docs/balancers.md says it is: it cuts a
// connection that says nothing, and none whose server knows of it.
func TestRecipesIdle(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, addr string) *balancer{
		"Apache":   func(t *testing.T, addr string) *balancer { return startApache(t, addr, false, "Timeout 2\n") },
		"lighttpd": func(t *testing.T, addr string) *balancer { return startLighttpd(t, addr, "server.max-read-idle = 2\n") },
		"Varnish":  func(t *testing.T, addr string) *balancer { return startVarnish(t, addr, "pipe_timeout=2") },
		"Squid":    func(t *testing.T, addr string) *balancer { return startSquid(t, addr, "read_timeout 2 seconds\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start(t, startBackend(t, trusting).addr).expectCut()
			start(t, startBackend(t, pinging).addr).expectKept()
		})
	}
}
