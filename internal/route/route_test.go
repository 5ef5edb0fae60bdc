package route_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/route"
)

func parse(t testing.TB, text string) route.Pattern {
	t.Helper()
	p, err := route.Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return p
}

func TestMatch(t *testing.T) {
	for _, test := range []struct{ pattern, path, values string }{
		{"/chat", "/chat", "match"},
		{"/chat", "/chat/", ""},
		{"/chat", "/Chat", ""},
		{"/a b", "", ""},
		{"/rooms/{room}", "/rooms/hall", "match room=hall"},
		{"/rooms/{room}", "/rooms/a%2Fb", "match room=a/b"},
		{"/rooms/{room}", "/rooms/", ""},
		{"/files/{path...}", "/files/a/b", "match path=a/b"},
		{"/files/{path...}", "/files/", "match path="},
		{"/files/", "/files/a/b", "match"},
		{"/files/{$}", "/files/", "match"},
		{"/files/{$}", "/files/a", ""},
		{"/caf%C3%A9", "/caf%c3%a9", "match"},
	} {
		p, err := route.Parse(test.pattern)
		if err != nil {
			if test.path != "" {
				t.Errorf("%q: %v", test.pattern, err)
			}
			continue
		}
		got := ""
		if p.Match([]byte(test.path)) {
			got = "match"
			p.Values([]byte(test.path), func(name, value string) { got += " " + name + "=" + value })
		}
		if got != test.values {
			t.Errorf("%s on %s: %q, want %q", test.pattern, test.path, got, test.values)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, text := range []string{"", "a", "GET /", "/a//b", "/./", "/{a", "/{a}b", "/{1}", "/{a}/{a}", "/{a...}/b", "/{$}/b"} {
		if _, err := route.Parse(text); err == nil {
			t.Errorf("%q is a pattern", text)
		}
	}
}

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		a, b                string
		shared, wider, less bool
	}{
		{"/a", "/b", false, false, false},
		{"/a", "/{x}", true, false, true},
		{"/{x}/b", "/a/{y}", true, true, true},
		{"/", "/a", true, true, false},
		{"/a/{$}", "/a/{x}", false, false, false},
		{"/a/", "/a/{x...}", true, false, false},
	} {
		shared, aWider, bWider := route.Compare(parse(t, test.a), parse(t, test.b))
		if shared != test.shared || shared && (aWider != test.wider || bWider != test.less) {
			t.Errorf("%s and %s: shared %v, wider %v, %v", test.a, test.b, shared, aWider, bWider)
		}
	}
}

// FuzzMatch compares with net/http.ServeMux, for patterns and paths that it leaves as
// they are.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{{"/a", "/a"}, {"/{x}", "/b"}, {"/a/{x...}", "/a/b/c"}, {"/a/{$}", "/a/"}, {"/{x}/b/", "/q/b/z"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		p, err := route.Parse(pattern)
		if err != nil || !strings.HasPrefix(path, "/") || !route.Clean([]byte(path)) || strings.ContainsAny(pattern+path, "%?# ") {
			return
		}
		for _, r := range pattern + path {
			if r <= ' ' || r > '~' {
				return
			}
		}
		mux := http.NewServeMux()
		matched := false
		if panicked := func() (p any) {
			defer func() { p = recover() }()
			mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) { matched = true })
			return nil
		}(); panicked != nil {
			t.Fatalf("net/http does not take %q: %v", pattern, panicked)
		}
		r, err := http.NewRequest("GET", "http://a"+path, nil)
		if err != nil || r.URL.Path != path {
			return
		}
		mux.ServeHTTP(httptest.NewRecorder(), r)
		if got := p.Match([]byte(path)); got != matched {
			t.Errorf("%q on %q: %v, net/http says %v", pattern, path, got, matched)
		}
	})
}
