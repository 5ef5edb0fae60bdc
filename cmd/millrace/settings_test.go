package main_test

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
)

// TestUnknownVariables: a variable with our prefix that sets nothing is refused, with
// the one that may have been meant; what others set is let be.
func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{
		"MILLRACE_MAX_MESAGE=1k":            "unknown variable MILLRACE_MAX_MESAGE: did you mean MILLRACE_MAX_MESSAGE?",
		"MILLRACE_MAXMESSAGE=1k":            "did you mean MILLRACE_MAX_MESSAGE?",
		"MILLRACE_ORIGINS=*":                "did you mean MILLRACE_ORIGIN?",
		"MILLRACE_max_message=1k":           "did you mean MILLRACE_MAX_MESSAGE?",
		"MILLRACE_TRUSTED_PROXY=10.0.0.1":   "did you mean MILLRACE_TRUSTED_PROXIES?",
		"MILLRACE_IDEL_TIMEOUT=1s":          "did you mean MILLRACE_IDLE_TIMEOUT?",
		"MILLRACE_COLOUR=blue":              "unknown variable MILLRACE_COLOUR\n",
		"MILLRACE_CONFIG=foo.yaml":          "MILLRACE_CONFIG: there is no configuration file: give flags, or variables MILLRACE_...\n",
		"MILLRACE_=x":                       "unknown variable MILLRACE_\n",
		"MILLRACE_PORT=8080":                "unknown variable MILLRACE_PORT",
		"MILLRACE_SERVICE_PORT=http":        "unknown variable MILLRACE_SERVICE_PORT",
		"MILLRACE_LISTEN_PORT=8080":         "unknown variable MILLRACE_LISTEN_PORT",
		"MILLRACE_SERVICE_HOST=example.com": "unknown variable MILLRACE_SERVICE_HOST",
	} {
		expectMisuse(t, []string{variable}, []string{"serve"}, want)
	}
	// What Kubernetes sets in each container of a namespace with the Services millrace
	// and millrace-admin, and what our tests know.
	p := serve(t, []string{
		"MILLRACE_SERVICE_HOST=10.96.12.34", "MILLRACE_SERVICE_PORT=80", "MILLRACE_SERVICE_PORT_HTTP=80", "MILLRACE_PORT=tcp://10.96.12.34:80",
		"MILLRACE_PORT_8080_TCP=tcp://10.96.12.34:8080", "MILLRACE_PORT_8080_TCP_PROTO=tcp", "MILLRACE_PORT_8080_TCP_PORT=8080", "MILLRACE_PORT_8080_TCP_ADDR=10.96.12.34",
		"MILLRACE_ADMIN_SERVICE_HOST=fd00::1", "MILLRACE_ADMIN_SERVICE_PORT=9090", "MILLRACE_ADMIN_PORT=udp://[fd00::1]:9090", "MILLRACE_ADMIN_PORT_9090_UDP_ADDR=fd00::1",
		"MILLRACE_CHAOS=20", "MILLRACE_TEST_PORTS=1", "MILLRACE_MAX_MESSAGE=200",
	})
	expectLimit(t, p, 200)
}

// TestEmptyValues: what is set to nothing is refused: an unset variable in a unit file
// must not switch a protection off.
func TestEmptyValues(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"tls-client-ca", "tls-cert", "host", "origin", "admin", "admin-token-file", "trusted-proxies", "max-message"} {
		expectMisuse(t, nil, []string{"serve", "--" + flag + "="}, "--"+flag+": empty value")
		variable := "MILLRACE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		expectMisuse(t, []string{variable + "="}, []string{"serve"}, variable+": empty value")
	}
	expectMisuse(t, nil, []string{"serve", "--listen", "127.0.0.1:18660", "--admin", "127.0.0.1:18660"}, "--listen and --admin are the same address")
}

// TestZeroIsTheDefault: a number or a size of 0 is what docs/flags.md says of it: the default,
// unless it says otherwise.
func TestZeroIsTheDefault(t *testing.T) {
	t.Parallel()
	var args []string
	for _, name := range []string{
		"max-conns", "max-conns-per-addr", "max-handshakes", "max-tls-handshakes", "max-http-conns", "max-http-streams", "handshake-rate", "handshake-burst", "max-head", "max-head-lines", "max-message",
		"max-empty-fragments", "message-rate", "message-burst", "byte-rate", "byte-burst", "max-queue", "queue-high-water", "queue-low-water", "max-backlog", "max-inbound",
		"deflate-windows", "deflate-level", "deflate-threshold", "max-workers", "loops",
		"topics-history", "topics-max", "topics-per-conn", "topics-presence-rate", "topics-presence-burst", "topics-publish-rate", "topics-publish-burst",
	} {
		args = append(args, "--"+name, "0")
	}
	args = append(args, "--topics")
	expectLimit(t, serve(t, nil, append(args, "--deflate", "takeover")...), 1<<20)
}

// TestFieldsInDocs: the tables name for each flag the field that it sets. An error of
// the server's about that field then names the flag, or its variable.
func TestFieldsInDocs(t *testing.T) {
	t.Parallel()
	fields := map[string]string{} // by flag
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| [^|]+ \\| `([\\w.]+)`(, its `(\\w+)`)?").FindAllStringSubmatch(flagTables(t), -1) {
		fields[row[1]] = row[2]
		if row[4] != "" {
			fields[row[1]] = row[2] + "." + row[4]
		}
	}
	for flag, c := range map[string]struct{ wrong, also string }{
		"ping-interval": {"1ns", ""}, "max-head": {"1", ""}, "max-head-lines": {"1", ""}, "loops": {"2000", ""}, "max-workers": {"2000000", ""}, "deflate-level": {"10", "--deflate=on"},
		"handshake-burst": {"1", ""}, "message-burst": {"1", ""}, "byte-burst": {"1", ""}, "queue-low-water": {"1g", ""}, "queue-high-water": {"2k", "--max-queue=1k"},
		"max-backlog": {"1k", "--max-queue=2k"}, "max-inbound": {"1", ""}, "idle-timeout": {"1us", ""}, "message-timeout": {"1us", ""}, "max-lifetime": {"1us", ""},
		"trusted-proxies": {"10.0.0.1/8", ""},
	} {
		if !isField(reflect.TypeFor[server.Server](), fields[flag]) {
			t.Errorf("the docs say that --%s sets %q", flag, fields[flag])
		}
		also := slices.DeleteFunc([]string{"serve", c.also}, func(arg string) bool { return arg == "" })
		expectMisuse(t, nil, append(also, "--"+flag+"="+c.wrong), "millrace serve: --"+flag+": invalid value "+fmt.Sprintf("%q", c.wrong)+": want ")
		variable := "MILLRACE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		expectMisuse(t, []string{variable + "=" + c.wrong}, also, "millrace serve: "+variable+": invalid value ")
	}
}

// isField says whether a type has a field of that name, in its structs too.
func isField(of reflect.Type, name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		field, ok := of.FieldByName(part)
		if !ok {
			return false
		}
		of = field.Type
	}
	return true
}

// TestMoreConnsThanDescriptors: a bound that the descriptors can not reach is told, with
// what would help.
func TestMoreConnsThanDescriptors(t *testing.T) {
	t.Parallel()
	_, most, err := poller.RaiseDescriptorLimit()
	if err != nil || most == 0 || most > 1<<40 {
		t.Skip("there is no limit of descriptors")
	}
	warning := `msg="more connections allowed than there are descriptors"`
	log := logOf(t, "--max-conns", fmt.Sprint(most))
	for _, word := range []string{
		warning, fmt.Sprintf("max_conns=%d limit=%d hard=%d", most, most, most), "LimitNOFILE", "ulimit -Hn", fmt.Sprintf("millrace doctor --target %d", most),
	} {
		if !strings.Contains(log, word) {
			t.Errorf("%q lacks %q", log, word)
		}
	}
	if log := logOf(t, "--max-conns", fmt.Sprint(most-1)); strings.Contains(log, warning) {
		t.Errorf("warned of fewer: %s", log)
	}
}

// logOf is what a server with these flags logs until it is told to stop.
func logOf(t *testing.T, args ...string) string {
	t.Helper()
	p := serve(t, nil, args...)
	p.signal(syscall.SIGTERM)
	status, stderr := p.status()
	if status != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
	return stderr
}

// TestTrustingEverybody: it works, and is told.
func TestTrustingEverybody(t *testing.T) {
	t.Parallel()
	log := logOf(t, "--trusted-proxies", "10.0.0.0/8,0.0.0.0/0")
	if !strings.Contains(log, `msg="forwarded headers count from anybody" trusted_proxies=0.0.0.0/0`) {
		t.Error(log)
	}
}
