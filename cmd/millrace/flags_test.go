package main_test

import (
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// settings are all flags with a value that is wrong and what the error says is
// allowed.
var settings = []struct{ flag, wrong, allowed string }{
	{"listen", "8080", "HOST:PORT"},
	{"listen", "localhost:http", "a port from 0 to 65535"},
	{"listen", "127.0.0.1:65536", "a port from 0 to 65535"},
	{"listen", "unix:", "unix:PATH such as unix:/run/millrace.sock"},
	{"listen", "unix:@abstract", "unix:PATH"},
	{"listen-mode", "0888", "permissions in octal such as 0660"},
	{"listen-mode", "rw-rw----", "permissions in octal"},
	{"listen-mode", "0", "from 0001 to 0777"},
	{"listen-mode", "01777", "from 0001 to 0777"},
	{"origin", "example.com", "an origin as browsers send it, such as https://example.com"},
	{"origin", "https://a.example,https://b.example/path", "without a path"},
	{"origin", "https://a.example:99999", "a port from 1 to 65535"},
	{"origin", "https://app*.example", "*.example.com"},
	{"host", "https://example.com", "a host as clients send it"},
	{"host", "a.example,b.example:0", "a port from 1 to 65535"},
	{"proxy-protocol", "on", "one of off, required"},
	{"trusted-proxies", "10.0.0.0/33", "addresses and networks such as 10.0.0.0/8"},
	{"trusted-proxies", "10.0.0.1,lb.example", "addresses and networks"},
	{"trusted-proxies", "10.1.2.3/8", "10.0.0.0/8 for the network, or 10.1.2.3/32 for the address"},
	{"trusted-proxies", "fe80::1%eth0", "addresses and networks"},
	{"trusted-proxies", "::ffff:10.0.0.0/104", "addresses and networks"},
	{"lb-idle-timeout", "999ms", "0, or a time with its unit such as 30s or 5m, from 1s to"},
	{"lb-idle-timeout", "60", "0, or a time"},
	{"trusted-proxies", "unix:/run/lb.sock", "or unix"},
	{"admin", "9090", "HOST:PORT"},
	{"admin", "9090", "unix:PATH"},
	{"admin-mode", "8", "permissions in octal"},
	{"admin-host", "a.example:80", "without a scheme, a port or a path"},
	{"admin-host", "a.example, http://b.example", "names such as admin.example.com"},
	{"metrics", "on", "one of auto, public, off"},
	{"max-conns", "-1", "a whole number from 0"},
	{"max-conns-per-addr", "many", "a whole number from 0"},
	{"max-handshakes", "-2", "off, or a whole number from 0"},
	{"max-http-conns", "-2", "off, or a whole number from 0"},
	{"max-http-streams", "-2", "off, or a whole number from 0"},
	{"http-idle-timeout", "10", "a time with its unit"},
	{"body-timeout", "-1s", "off, or a time with its unit"},
	{"http-idle-timeout", "never", "off, or a time with its unit"},
	{"handshake-rate", "many", "a whole number from 0"},
	{"handshake-burst", "-1", "a whole number from 0"},
	{"max-head", "134", "0, or from 135 to 1073741824"},
	{"max-head", "2g", "0, or from 135 to 1073741824"},
	{"max-head-lines", "5", "0, or from 6 to"},
	{"max-empty-fragments", "-1", "a whole number from 0"},
	{"max-message", "1x", "a size such as 65536, 64k or 1MiB, from 0"},
	{"max-message", "-1k", "a size"},
	{"max-message", "99999999999999999999g", "a size"},
	{"message-rate", "-1", "a whole number from 0"},
	{"message-burst", "x", "a whole number from 0"},
	{"byte-rate", "fast", "a size"},
	{"byte-burst", "-1", "a size"},
	{"max-queue", "1i", "a size"},
	{"max-queue", "k", "a size"},
	{"max-queue", "1kk", "a size"},
	{"max-backlog", "on", "off, or a size"},
	{"max-inbound", "1m", "0, or at least 1114112, which one connection may need by --max-message and --max-head"},
	{"queue-policy", "wait", "one of close, drop, drop-newest"},
	{"handshake-timeout", "10", "a time with its unit such as 500ms, 30s or 5m, from 0s to 8784h0m0s"},
	{"handshake-timeout", "1us", "0, or from 1ms"},
	{"write-timeout", "-1s", "from 0s"},
	{"write-timeout", "off", "a time"},
	{"close-timeout", "8785h", "to 8784h0m0s"},
	{"ping-interval", "-1s", "off, or a time"},
	{"ping-interval", "1ns", "0, or from 1ms to 8784h0m0s"},
	{"message-timeout", "1us", "0, or from 1ms"},
	{"idle-timeout", "soon", "a time"},
	{"idle-timeout", "999us", "0, or from 1ms"},
	{"max-lifetime", "9000h", "to 8784h0m0s"},
	{"deflate", "yes", "one of off, on, takeover"},
	{"deflate-level", "low", "a whole number from 0"},
	{"deflate-threshold", "-1", "a size"},
	{"deflate-window", "8", "a whole number from 9 to 15"},
	{"deflate-windows", "off", "a size"},
	{"drain-delay", "x", "a time"},
	{"drain-rate", "1.5", "a whole number from 0"},
	{"drain-timeout", "0", "from 1ms"},
	{"drain-code", "1000", "one of 1001, 1012"},
	{"tls-min-version", "1.1", "one of 1.2, 1.3"},
	{"max-tls-handshakes", "-1", "a whole number from 0"},
	{"poller", "select", "one of "},
	{"loops", "-1", "a whole number from 0"},
	{"loops", "1025", "0, or from 1 to 1024"},
	{"loops", "1.5", "a whole number"},
	{"max-workers", "1048577", "0, or from 1 to 1048576"},
	{"log-level", "loud", "one of debug, info, warn, error"},
	{"log-format", "logfmt", "one of text, json"},
	{"access-log", "true", "one of off, on"},
	{"topics", "true", "one of off, on"},
	{"topics-open", "yes", "one of off, on"},
	{"topics-rule", "rooms/#", "a rule such as"},
	{"topics-rule", "#/a messages=1", "a filter such as rooms/#"},
	{"topics-rule", "# messages=0", "behind messages= a whole number from 1"},
	{"topics-rule", "# messages=1 age=1", "behind age= a time with its unit"},
	{"topics-rule", "# messages=1;# age=1h", "without it nothing is kept"},
	{"topics-rule", "# policy=drop", "behind policy= one of close, drop-newest, drop-oldest"},
	{"topics-rule", "# colour=blue", "a rule such as"},
	{"topics-history", "-1k", "a size such as 65536, 64k or 1MiB, from 0 up"},
	{"topics-max", "-2", "off, or a whole number from 0"},
	{"topics-per-conn", "many", "off, or a whole number from 0"},
	{"topics-presence-rate", "-2", "off, or a whole number from 0"},
	{"topics-presence-burst", "off", "a whole number from 0"},
	{"topics-jwt-jwks", "http://example.com/keys", "a URL with https"},
	{"topics-jwt-jwks", "ftp://127.0.0.1/keys", "a URL with https"},
	{"topics-jwt-expiry", "never", "one of required, optional"},
	{"topics-cookie", "a b", "a cookie's name such as session"},
	{"topics-cors", "example.com", "an origin as browsers send it"},
	{"topics-publish-rate", "-1", "a whole number from 0"},
	{"topics-publish-burst", "x", "a whole number from 0"},
}

func TestWrongValues(t *testing.T) {
	t.Parallel()
	for _, s := range settings {
		variable := "MILLRACE_" + strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))
		expectMisuse(t, nil, []string{"serve", "--" + s.flag + "=" + s.wrong}, "--"+s.flag+": ", s.wrong, s.allowed)
		expectMisuse(t, []string{variable + "=" + s.wrong}, []string{"serve"}, variable+": ", s.wrong, s.allowed)
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"serve --nonsense", "millrace serve: unknown flag --nonsense\n"},
		{"serve --config foo.yaml", "--config: there is no configuration file: give flags, or variables MILLRACE_...\n"},
		{"serve --config-file=foo.yaml", "--config-file: there is no configuration file: give flags, or variables MILLRACE_...\n"},
		{"serve --max-mesage 1k", "unknown flag --max-mesage: did you mean --max-message?"},
		{"serve -Origins=*", "unknown flag --Origins: did you mean --origin?"},
		{"serve --trusted-proxy 10.0.0.1", "unknown flag --trusted-proxy: did you mean --trusted-proxies?"},
		{"serve --loops", "--loops: value missing: want a whole number from 0 up"},
		{"serve --tls-cert --tls-key k.pem", "--tls-cert: value missing before --tls-key: want FILE"},
		{"serve --listen", "--listen: value missing: want HOST:PORT such as :8080"},
		{"serve --listen :0 --listen 127.0.0.1:0", `--listen: given twice, as ":0" and "127.0.0.1:0": want one`},
		{"serve --admin :0 --admin :0", "--admin: given twice"},
		{"serve now", `unexpected argument "now": want flags only`},
		{"serve --access-log now", "--access-log: invalid value \"now\""},
		{"serve --deflate-level 9", "--deflate-level 9 says nothing with --deflate off"},
		{"serve --deflate off --deflate-windows 1m", "--deflate-windows 1m says nothing with --deflate off"},
		{"serve --version", "unknown flag --version: want 'millrace version'"},
		{"serve --max-head", "--max-head: value missing: want a size such as 65536, 64k or 1MiB, from 0 up\n"},
		{"serve --listen :18660 --admin 127.0.0.1:18660", "--listen and --admin are the same address, :18660 and 127.0.0.1:18660: want two"},
		{"serve --listen localhost:18660 --admin 127.0.0.1:18660", "--listen and --admin are the same address"},
		{"serve --listen unix:/tmp/a --admin unix:/tmp/a", "--listen and --admin are the same address"},
		{"serve --handshake-burst 5", "--handshake-burst: invalid value \"5\": want 0 without a --handshake-rate"},
		{"serve --deflate-window 10", "--deflate-window 10 says nothing with --deflate off"},
		{"serve --idle-timeout 2h --max-lifetime 1h", "--idle-timeout: invalid value \"2h\": want 0, or at most --max-lifetime, which is 1h0m0s"},
		{"serve --message-burst 5", "--message-burst: invalid value \"5\": want 0 without a --message-rate"},
		{"serve --byte-burst 5k", "--byte-burst: invalid value \"5k\": want 0 without a --byte-rate"},
		{"serve --byte-rate 1k --byte-burst 5k", "--byte-burst: invalid value \"5k\": want 0, or at least 1048590: what a message of --max-message, which is 1048576, takes"},
		{"serve --max-backlog 5k --max-queue 1m", "--max-backlog: invalid value \"5k\": want 0, or at least the --max-queue of one connection, which is 1048576"},
		{"serve --max-inbound 5k", "--max-inbound: invalid value \"5k\": want 0, or at least 1114112, which one connection may need by --max-message"},
		{"serve --queue-high-water 2k --max-queue 1k", "--queue-high-water: invalid value \"2k\": want 0, or at most --max-queue, which is 1024"},
		{"serve --queue-high-water 2k --queue-low-water 3k", "--queue-low-water: invalid value \"3k\": want 0, or at most --queue-high-water, which is 2048"},
		{"serve --queue-high-water off --queue-low-water 3k", "--queue-low-water: invalid value \"3k\": want 0, since by --queue-high-water there is never a pause"},
		{"serve --queue-high-water on", "off, or a size such as"},
		{"serve --listen-mode 0600", "--listen-mode says nothing without --listen unix:PATH"},
		{"serve --trusted-proxies unix", "unix in --trusted-proxies says nothing without --listen unix:PATH"},
		{"serve --trusted-proxies 10.0.0.0/8 --trusted-proxies unix", "unix in --trusted-proxies says nothing without --listen unix:PATH"},
		{"serve --admin :0 --admin-mode 0660", "--admin-mode says nothing without --admin unix:PATH"},
		{"serve --tls-cert c.pem", "--tls-cert without --tls-key: TLS needs both files"},
		{"serve --tls-key k.pem", "--tls-key without --tls-cert: TLS needs both files"},
		{"serve --tls-client-ca ca.pem", "--tls-client-ca says nothing without TLS: want --tls-cert and --tls-key too"},
		{"serve --admin-token-file x", "--admin-token-file says nothing without --admin"},
		{"server", `millrace: unknown command "server": did you mean serve?`},
		{"run", `millrace: unknown command "run": want one of serve, doctor, help, version`},
		{"--listen :80 serve", "millrace: --listen stands before the command: want one of serve, doctor, help, version first"},
		{"help serv", `unknown command "serv": did you mean serve?`},
	} {
		expectMisuse(t, nil, strings.Fields(c.args), c.want)
	}
	// What the environment says is told as that, also where it contradicts a flag.
	for variable, want := range map[string]string{
		"MILLRACE_TLS_CERT=c.pem":       "MILLRACE_TLS_CERT without --tls-key",
		"MILLRACE_LISTEN_MODE=0600":     "MILLRACE_LISTEN_MODE says nothing without --listen unix:PATH",
		"MILLRACE_DEFLATE_WINDOW=10":    "MILLRACE_DEFLATE_WINDOW 10 says nothing with --deflate off",
		"MILLRACE_ADMIN_TOKEN_FILE=x":   "MILLRACE_ADMIN_TOKEN_FILE says nothing without --admin",
		"MILLRACE_HANDSHAKE_BURST=5":    "MILLRACE_HANDSHAKE_BURST: invalid value \"5\": want 0 without a --handshake-rate",
		"MILLRACE_LISTEN=127.0.0.1:www": "MILLRACE_LISTEN: invalid value",
	} {
		expectMisuse(t, []string{variable}, []string{"serve"}, want)
	}
	if _, stderr, status := runToEnd(t, nil); status != 2 || !strings.Contains(stderr, "Usage: millrace COMMAND") {
		t.Errorf("without a command: status %d, stderr %q", status, stderr)
	}
}

// hints are the lines that say where to read more.
var hints = regexp.MustCompile(`^Run 'millrace (help|\w+ --help)' for .*\n$`)

// expectMisuse: one line on stderr with all the words, a line that says where to read
// more, nothing on stdout, status 2.
func expectMisuse(t *testing.T, env, args []string, words ...string) {
	t.Helper()
	stdout, stderr, status := runToEnd(t, env, args...)
	line, hint, _ := strings.Cut(stderr, "\n")
	if status != 2 || stdout != "" || !strings.HasPrefix(line, "millrace") || !hints.MatchString(hint) {
		t.Errorf("%v %v: status %d, stdout %q, stderr %q; want 2, and one line and a hint on stderr", env, args, status, stdout, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("%v %v: stderr %q lacks %q", env, args, stderr, word)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"serve --help", "serve -h", "help serve"} {
		stdout, stderr, status := runToEnd(t, nil, strings.Fields(args)...)
		if status != 0 || stderr != "" {
			t.Errorf("%s: status %d, stderr %q", args, status, stderr)
		}
		for _, s := range settings {
			variable := "MILLRACE_" + strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))
			entry := regexp.MustCompile(`(?m)^  --` + s.flag + ` [A-Z:]+  \[` + variable + `\]\n(        .*\n)+        \(default .+\)$`)
			if !entry.MatchString(stdout) {
				t.Errorf("%s lacks --%s:\n%s", args, s.flag, stdout)
			}
		}
	}
	for _, args := range []string{"help", "--help", "-h"} {
		if stdout, _, status := runToEnd(t, nil, args); status != 0 || !strings.Contains(stdout, "serve") {
			t.Errorf("%s: status %d, %q", args, status, stdout)
		}
	}
	for _, arg := range []string{"version", "--version"} {
		stdout, stderr, status := runToEnd(t, nil, arg)
		want := regexp.MustCompile(`^millrace \S+, commit .+, ` + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n$")
		if status != 0 || stderr != "" || !want.MatchString(stdout) {
			t.Errorf("%s: status %d, stderr %q, %q, want %v", arg, status, stderr, stdout, want)
		}
	}
}

// expectCannotListen: one line on stderr with the words, nothing on stdout,
// status 1.
func expectCannotListen(t *testing.T, stdout, stderr string, status int, words ...string) {
	t.Helper()
	if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Errorf("status %d, stdout %q, stderr %q; want 1 and one line on stderr", status, stdout, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("stderr %q lacks %q", stderr, word)
		}
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	stdout, stderr, status := runToEnd(t, nil, "serve", "--listen", addr)
	expectCannotListen(t, stdout, stderr, status, "--listen "+addr+": the port is taken")
}

func TestForeignAddress(t *testing.T) {
	t.Parallel()
	stdout, stderr, status := runToEnd(t, nil, "serve", "--listen", "192.0.2.1:0") // RFC 5737: nobody's
	expectCannotListen(t, stdout, stderr, status, "--listen 192.0.2.1:0: this machine has no such address")
}

// TestSizes: each way to write a size is the number of bytes it says.
func TestSizes(t *testing.T) {
	t.Parallel()
	for text, bytes := range map[string]int{
		"100": 100, "100b": 100, "1k": 1 << 10, "1K": 1 << 10, "1kb": 1 << 10, "2ki": 2 << 10, "1KiB": 1 << 10, "1m": 1 << 20, "1MiB": 1 << 20,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			expectLimit(t, serve(t, nil, "--max-message", text, "--max-queue", "2m"), bytes)
		})
	}
}

// expectLimit sends a message of limit bytes, which is echoed, and the header of
// one a byte larger, which is not.
func expectLimit(t *testing.T, p *process, limit int) {
	t.Helper()
	c := open(t, p.addr)
	payload := strings.Repeat("x", limit)
	c.send(fin|opText, payload)
	c.expect(opText, payload)
	c.write(header(fin|opText, limit+1))
	c.expectClose(1009)
}

// TestSources: a flag wins over its variable, which wins over the default.
func TestSources(t *testing.T) {
	t.Parallel()
	env := []string{"MILLRACE_MAX_MESSAGE=200", "MILLRACE_LOOPS=1"}
	expectLimit(t, serve(t, env), 200)
	expectLimit(t, serve(t, env, "--max-message", "300"), 300)
	expectLimit(t, serve(t, env, "--max-message", "300", "--max-message=400"), 400)
	expectLimit(t, serve(t, nil), 1<<20)
}
