package compare

import (
	"crypto/tls"
	"io"
	"slices"
	"strings"
	"testing"
)

// TestUnder: a server is started with the flags for what its scenario needs, and as
// before without any.
func TestUnder(t *testing.T) {
	cert := certificate{"/c", "/k"}
	own, err := parseServer("a=./s LISTEN FLAGS --more")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		server server
		needs  string
		want   []string
	}{
		{server{command: words("s --listen LISTEN")}, "", words("s --listen LISTEN")},
		{server{command: words("s --listen LISTEN")}, "broadcast deflate", words("s --listen LISTEN --broadcast --deflate")},
		{server{command: words("s --listen LISTEN")}, "echo tls takeover", words("s --listen LISTEN --cert /c --key /k --takeover")},
		{own, "", []string{"sh", "-c", "exec ./s LISTEN  --more"}},
		{own, "tls", []string{"sh", "-c", "exec ./s LISTEN --cert /c --key /k --more"}},
	} {
		before := slices.Clone(tt.server.command)
		if got := tt.server.under(scenario{needs: words(tt.needs)}, cert).command; !slices.Equal(got, tt.want) {
			t.Errorf("for %q: %q, want %q", tt.needs, got, tt.want)
		}
		if !slices.Equal(tt.server.command, before) {
			t.Errorf("the server's own command became %q", tt.server.command)
		}
	}
}

// TestLeaveOut: a server takes part in what it has what is needed for, and a reader
// learns what it has not.
func TestLeaveOut(t *testing.T) {
	servers, err := parseServers("millrace,floor,centrifuge,gnet,mine=./s LISTEN,flagged=./s LISTEN FLAGS,stalled")
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := parseScenarios("echo-100,fan-1k-100,tls-64,deflate-1k,takeover-1k,fan-deflate")
	if err != nil {
		t.Fatal(err)
	}
	s := &study{options: &options{servers: servers, scenarios: scenarios}, stderr: io.Discard}
	s.leaveOut()
	for name, want := range map[string]string{
		"millrace": "echo-100 fan-1k-100 tls-64 deflate-1k takeover-1k fan-deflate", "floor": "echo-100 fan-1k-100", "centrifuge": "fan-1k-100",
		"gnet": "echo-100 fan-1k-100 deflate-1k fan-deflate", "mine": "echo-100",
		"flagged": "echo-100 fan-1k-100 tls-64 deflate-1k takeover-1k fan-deflate", "stalled": "echo-100",
	} {
		i := slices.IndexFunc(s.servers, func(o server) bool { return o.name == name })
		var got []string
		for _, sc := range scenarios {
			if s.servers[i].takesPart(sc.name) {
				got = append(got, sc.name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s takes part in %q, want %s", name, got, want)
		}
	}
	if want := "floor takes no part in tls-64, deflate-1k, takeover-1k, fan-deflate: it does not have what they need"; !slices.Contains(s.result.Notes, want) {
		t.Errorf("notes %q, want %q", s.result.Notes, want)
	}
}

// TestLeftOutOfAll: one that can do nothing of what is asked takes part in nothing.
func TestLeftOutOfAll(t *testing.T) {
	servers, err := parseServers("floor")
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := parseScenarios("tls-64")
	if err != nil {
		t.Fatal(err)
	}
	s := &study{options: &options{servers: servers, scenarios: scenarios}, stderr: io.Discard}
	s.leaveOut()
	if s.servers[0].takesPart("tls-64") || len(s.servers[0].scenarios) == 0 {
		t.Errorf("it takes part in %q", s.servers[0].scenarios)
	}
}

func TestCertificate(t *testing.T) {
	c, err := newCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.file, c.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.Leaf.VerifyHostname("127.0.0.1"); err != nil {
		t.Error(err)
	}
}
