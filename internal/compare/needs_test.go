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
	odd := certificate{"/tmp of $1/c", "/it's/k"}
	own, err := parseServer("a=./s LISTEN FLAGS --more")
	if err != nil {
		t.Fatal(err)
	}
	inWords, err := parseServer("a=env GOFLAGS=-v MY_FLAGS=1 ./s LISTEN FLAGS")
	if err != nil {
		t.Fatal(err)
	}
	if none, err := parseServer("a=env GOFLAGS=-v ./s LISTEN"); err != nil || slices.Contains(none.can, deflates) {
		t.Errorf("%v: without flags it can %q", err, none.can)
	}
	for _, tt := range []struct {
		server server
		needs  string
		cert   certificate
		want   []string
	}{
		{server{command: words("s --listen LISTEN")}, "", cert, words("s --listen LISTEN")},
		{server{command: words("s --listen LISTEN")}, "broadcast deflate", cert, words("s --listen LISTEN --broadcast --deflate")},
		{server{command: words("s --listen LISTEN")}, "echo tls takeover", cert, words("s --listen LISTEN --cert /c --key /k --takeover")},
		{own, "", cert, []string{"sh", "-c", "exec ./s LISTEN  --more"}},
		{own, "tls", cert, []string{"sh", "-c", "exec ./s LISTEN --cert /c --key /k --more"}},
		{own, "tls", odd, []string{"sh", "-c", `exec ./s LISTEN --cert '/tmp of $1/c' --key '/it'\''s/k' --more`}},
		{inWords, "deflate", cert, []string{"sh", "-c", "exec env GOFLAGS=-v MY_FLAGS=1 ./s LISTEN --deflate"}},
	} {
		before := slices.Clone(tt.server.command)
		if got := tt.server.under(scenario{needs: words(tt.needs)}, tt.cert).command; !slices.Equal(got, tt.want) {
			t.Errorf("for %q: %q, want %q", tt.needs, got, tt.want)
		}
		if !slices.Equal(tt.server.command, before) {
			t.Errorf("the server's own command became %q", tt.server.command)
		}
	}
}

// studyOf gives one of these servers and scenarios.
func studyOf(t *testing.T, servers, scenarios string) *study {
	t.Helper()
	o := &options{}
	var err error
	if o.servers, err = parseServers(servers); err != nil {
		t.Fatal(err)
	}
	if o.scenarios, err = parseScenarios(scenarios); err != nil {
		t.Fatal(err)
	}
	return &study{options: o, stderr: io.Discard}
}

// TestLeaveOut: a server takes part in what it has what is needed for, and a reader
// learns what it has not.
func TestLeaveOut(t *testing.T) {
	s := studyOf(t, "millrace,floor,centrifuge,gnet,mine=./s LISTEN,flagged=./s LISTEN FLAGS,stalled",
		"echo-100,fan-1k-100,stream-1k-100,tls-64,deflate-1k,takeover-1k,fan-deflate")
	if err := s.leaveOut(); err != nil || len(s.scenarios) != 7 {
		t.Fatalf("%v, %d scenarios", err, len(s.scenarios))
	}
	for name, want := range map[string]string{
		"millrace": "echo-100 fan-1k-100 stream-1k-100 tls-64 deflate-1k takeover-1k fan-deflate", "floor": "echo-100 fan-1k-100 stream-1k-100", "centrifuge": "fan-1k-100",
		"gnet": "echo-100 fan-1k-100 deflate-1k fan-deflate", "mine": "echo-100",
		"flagged": "echo-100 fan-1k-100 stream-1k-100 tls-64 deflate-1k takeover-1k fan-deflate", "stalled": "echo-100",
	} {
		i := slices.IndexFunc(s.servers, func(o server) bool { return o.name == name })
		var got []string
		for _, sc := range s.scenarios {
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

// TestStreamsOfTheFloor: the floor has WebSockets in place of event streams, and no other
// server has.
func TestStreamsOfTheFloor(t *testing.T) {
	s := studyOf(t, "floor,millrace,gws", "stream-1k-100,fan-1k-100")
	for i, want := range []string{
		"broadcast --connections 1001 --rate 100 --size 64", "broadcast --connections 1001 --event-streams --rate 100 --size 64", "broadcast --connections 1001 --event-streams --rate 100 --size 64",
	} {
		o := &s.servers[i]
		sc := s.scenarios[0].of(o)
		if got := strings.Join(sc.load, " "); got != want || o.canAll(s.scenarios[0]) != (o.name != "gws") {
			t.Errorf("%s: %q, want %q; can %v", o.name, got, want, o.canAll(s.scenarios[0]))
		}
		if got := strings.Join(o.under(sc, certificate{}).command, " "); !strings.HasSuffix(got, "--broadcast") {
			t.Errorf("%s is started with %q", o.name, got)
		}
		if other := s.scenarios[1].of(o); !slices.Equal(other.load, s.scenarios[1].load) || !slices.Contains(s.scenarios[0].load, "--event-streams") {
			t.Errorf("%s: %q", o.name, other.load)
		}
	}
}

// TestLeftOutOfAll: scenarios without the server that ratios are to are left out, then
// servers without a scenario; and if nothing is left, that is wrong use.
func TestLeftOutOfAll(t *testing.T) {
	for _, tt := range []struct{ servers, scenarios, restServers, restScenarios, notes, err string }{
		{"floor,gws,centrifuge", "echo-100,tls-64", "floor, gws", "echo-100",
			"without tls-64: floor, to which ratios are, takes no part; centrifuge is left out: it takes part in none of the scenarios", ""},
		{"stalled,millrace", "echo-1k,idle-15k", "stalled, millrace", "echo-1k", "without idle-15k: stalled, to which ratios are, takes no part", ""},
		{"millrace,floor", "tls-64", "millrace", "tls-64", "floor is left out: it takes part in none of the scenarios", ""},
		{"mine=./s LISTEN", "tls-64,echo-100", "mine", "echo-100", "without tls-64: mine, to which ratios are, takes no part", ""},
		{"floor,millrace", "tls-64,tls-64k", "", "", "", "--scenarios: floor, to which ratios are, takes part in none of tls-64, tls-64k"},
	} {
		s := studyOf(t, tt.servers, tt.scenarios)
		err := s.leaveOut()
		if notes := strings.Join(s.result.Notes, "; "); tt.notes != notes {
			t.Errorf("%s under %s: notes %q, want %q", tt.servers, tt.scenarios, notes, tt.notes)
		}
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s under %s: %v, want %s", tt.servers, tt.scenarios, err, tt.err)
			}
			continue
		}
		var scenarios []string
		for _, sc := range s.scenarios {
			scenarios = append(scenarios, sc.name)
		}
		if got := strings.Join(scenarios, ", "); err != nil || got != tt.restScenarios || namesOf(s.servers) != tt.restServers {
			t.Errorf("%s under %s: %s under %s is left, %v", tt.servers, tt.scenarios, namesOf(s.servers), got, err)
		}
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
