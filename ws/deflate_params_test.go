package ws_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/ws"
)

// extensions is an upgrade with these Sec-WebSocket-Extensions lines.
func extensions(lines ...string) string {
	for i, line := range lines {
		lines[i] = "Sec-WebSocket-Extensions: " + line
	}
	return upgrade(lines...)
}

// refused is what answered gives for a list that fails the handshake.
const refused = "refused"

// answered is the value of the Sec-WebSocket-Extensions that answers the upgrade
// head; "" if there is no such line.
func answered(t testing.TB, head string, policy ws.DeflatePolicy) string {
	t.Helper()
	var r ws.Request
	if err := r.Parse([]byte(head)); err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	if err := r.CheckUpgrade(); err != nil {
		if status(err) != 400 || !strings.Contains(err.Error(), "malformed Sec-WebSocket-Extensions") {
			t.Fatalf("%q: refused: %v", head, err)
		}
		return refused
	}
	agreed := r.SelectDeflate(policy)
	response, err := ws.AppendUpgrade(nil, &r, &ws.Response{Deflate: agreed})
	if err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	_, line, found := strings.Cut(string(response), "Sec-WebSocket-Extensions: ")
	if found != agreed.Agreed() {
		t.Fatalf("%q: %+v is answered with %q", head, agreed, response)
	}
	value, _, _ := strings.Cut(line, "\r\n")
	return value
}

const (
	pmd        = "permessage-deflate"
	noTakeover = "; server_no_context_takeover; client_no_context_takeover"
)

var (
	takeover = ws.DeflatePolicy{ServerTakeover: true, ClientTakeover: true}
	narrow   = ws.DeflatePolicy{ServerTakeover: true, ClientTakeover: true, ServerMaxWindowBits: 11, ClientMaxWindowBits: 10}
)

var deflateOffers = []struct {
	name   string
	offers []string
	policy ws.DeflatePolicy
	want   string
}{
	{"no field", nil, takeover, ""},
	{"another extension", []string{"permessage-bzip2", "x-webkit-deflate-frame"}, takeover, ""},
	{"bare", []string{pmd}, takeover, pmd},
	{"bare, without takeover", []string{pmd}, ws.DeflatePolicy{}, pmd + noTakeover},
	{"takeover of the server only", []string{pmd}, ws.DeflatePolicy{ServerTakeover: true}, pmd + "; client_no_context_takeover"},
	{"takeover of the client only", []string{pmd}, ws.DeflatePolicy{ClientTakeover: true}, pmd + "; server_no_context_takeover"},
	{"no takeover offered", []string{pmd + noTakeover}, takeover, pmd + noTakeover},
	{"any case", []string{"PerMessage-Deflate; SERVER_no_context_takeover"}, takeover, pmd + "; server_no_context_takeover"},
	{"what browsers offer", []string{pmd + "; client_max_window_bits"}, takeover, pmd},
	{"browsers, narrow", []string{pmd + "; client_max_window_bits"}, narrow, pmd + "; server_max_window_bits=11; client_max_window_bits=10"},
	{"narrow where the client can not be told", []string{pmd}, narrow, pmd + "; client_no_context_takeover; server_max_window_bits=11"},
	{"smaller than narrow", []string{pmd + "; server_max_window_bits=9; client_max_window_bits=9"}, narrow, pmd + "; server_max_window_bits=9; client_max_window_bits=9"},
	{"larger than narrow", []string{pmd + "; server_max_window_bits=15; client_max_window_bits=15"}, narrow, pmd + "; server_max_window_bits=11; client_max_window_bits=10"},
	{"15 named by the client", []string{pmd + "; server_max_window_bits=15; client_max_window_bits=15"}, takeover, pmd + "; server_max_window_bits=15"},
	{"8", []string{pmd + "; server_max_window_bits=8; client_max_window_bits=8"}, takeover, pmd + "; server_max_window_bits=8; client_max_window_bits=8"},
	{"8 is never asked of a client", []string{pmd + "; client_max_window_bits"}, ws.DeflatePolicy{ClientTakeover: true, ClientMaxWindowBits: 8}, pmd + "; server_no_context_takeover; client_max_window_bits=9"},
	{"policy out of range", []string{pmd + "; client_max_window_bits"}, ws.DeflatePolicy{ServerTakeover: true, ClientTakeover: true, ServerMaxWindowBits: 99, ClientMaxWindowBits: -3}, pmd + "; client_max_window_bits=9"},
	{"whitespace", []string{"\t" + pmd + " \t;\tserver_no_context_takeover ,, "}, takeover, pmd + "; server_no_context_takeover"},

	{"server bits 7", []string{pmd + "; server_max_window_bits=7"}, takeover, ""},
	{"server bits 16", []string{pmd + "; server_max_window_bits=16"}, takeover, ""},
	{"server bits 99", []string{pmd + "; server_max_window_bits=99"}, takeover, ""},
	{"server bits 2^64+9", []string{pmd + "; server_max_window_bits=18446744073709551625"}, takeover, ""},
	{"server bits 09", []string{pmd + "; server_max_window_bits=09"}, takeover, ""},
	{"server bits quoted", []string{pmd + `; server_max_window_bits="10"`}, takeover, ""},
	{"server bits without a value", []string{pmd + "; server_max_window_bits"}, takeover, ""},
	{"server bits +9", []string{pmd + "; server_max_window_bits=+9"}, takeover, ""},
	{"server bits twice", []string{pmd + "; server_max_window_bits=10; server_max_window_bits=10"}, takeover, ""},
	{"client bits 7", []string{pmd + "; client_max_window_bits=7"}, takeover, ""},
	{"client bits 16", []string{pmd + "; client_max_window_bits=16"}, takeover, ""},
	{"client bits quoted", []string{pmd + `; client_max_window_bits="15"`}, takeover, ""},
	{"client bits twice", []string{pmd + "; client_max_window_bits; client_max_window_bits=10"}, takeover, ""},
	{"no takeover twice", []string{pmd + "; client_no_context_takeover; client_no_context_takeover"}, takeover, ""},
	{"no takeover twice, in two cases", []string{pmd + "; server_no_context_takeover; SERVER_NO_CONTEXT_TAKEOVER"}, takeover, ""},
	{"no takeover with a value", []string{pmd + "; client_no_context_takeover=1"}, takeover, ""},
	{"unknown parameter", []string{pmd + "; mux"}, takeover, ""},

	{"second offer", []string{pmd + "; server_max_window_bits=7, " + pmd + "; server_max_window_bits=10"}, takeover, pmd + "; server_max_window_bits=10"},
	{"second line", []string{pmd + "; mux", "foo", pmd}, takeover, pmd},
	{"first of two", []string{pmd + "; server_max_window_bits=12," + pmd}, takeover, pmd + "; server_max_window_bits=12"},
	{"space around =", []string{pmd + "; server_max_window_bits =\t9"}, takeover, pmd + "; server_max_window_bits=9"},
	{"behind a quoted token", []string{`foo; x="a\b;`, pmd}, takeover, refused},
	{"behind a quoted token with an escape", []string{`foo; x="a\b" ; y, ` + pmd}, takeover, pmd},
	{"as many empty elements as may be", []string{",,,," + pmd, "", ",,"}, takeover, pmd},

	{"empty field", []string{""}, takeover, refused},
	{"empty elements only", []string{", ,"}, takeover, refused},
	{"empty lines only", []string{"", ""}, takeover, refused},
	{"too many empty elements", []string{",,,,,,,,," + pmd}, takeover, refused},
	{"too many empty elements, over lines", []string{",,,," + pmd, ",,", "", ""}, takeover, refused},
	{"malformed behind a valid one", []string{pmd + ", foo bar"}, takeover, refused},
	{"malformed line behind a valid one", []string{pmd, "foo;"}, takeover, refused},
	{"nothing but delimiters", []string{";=,,"}, takeover, refused},
	{"trailing semicolon", []string{pmd + ";"}, takeover, refused},
	{"two trailing semicolons", []string{pmd + ";;"}, takeover, refused},
	{"two semicolons", []string{pmd + ";; client_max_window_bits"}, takeover, refused},
	{"no name", []string{"; server_no_context_takeover"}, takeover, refused},
	{"parameter without a name", []string{pmd + "; =9"}, takeover, refused},
	{"parameter with an empty value", []string{pmd + "; server_max_window_bits="}, takeover, refused},
	{"value of an extension", []string{pmd + "=9"}, takeover, refused},
	{"two values", []string{pmd + "; server_max_window_bits=9=9"}, takeover, refused},
	{"quoted name", []string{`"` + pmd + `"`}, takeover, refused},
	{"quoted comma", []string{`foo; x="a,b", ` + pmd}, takeover, refused},
	{"quoted quote", []string{`foo; x="a\"b", ` + pmd}, takeover, refused},
	{"nothing quoted", []string{pmd + `; server_max_window_bits=""`}, takeover, refused},
	{"quote without end", []string{pmd + `; x="abc`}, takeover, refused},
	{"quote that ends in a backslash", []string{pmd + `; x="abc\`}, takeover, refused},
	{"quote without end, escaped", []string{pmd + `; x="abc\"`}, takeover, refused},
	{"quote that begins nothing", []string{pmd + `; x="`}, takeover, refused},
	{"value behind a quote", []string{`foo; x="a"b, ` + pmd}, takeover, refused},
	{"not a token", []string{"foo/1, " + pmd}, takeover, refused},
	{"obs-text", []string{"foo\xe9, " + pmd}, takeover, refused},
}

func TestSelectDeflate(t *testing.T) {
	for _, c := range deflateOffers {
		if got := answered(t, extensions(c.offers...), c.policy); got != c.want {
			t.Errorf("%s: %q\nis answered with %q\nnot %q", c.name, c.offers, got, c.want)
		}
	}
}

// TestSelectDeflateIsCheap has a hostile list cost no memory, and each of its
// bytes the same whatever the list's length.
func TestSelectDeflateIsCheap(t *testing.T) {
	for _, unit := range []string{"a,", ",", "permessage-deflate,", "permessage-deflate;a,", `a;a="\"",`, "a;a=a;a=a,"} {
		list := strings.Repeat(unit, 64<<10/len(unit))
		var r ws.Request
		if err := r.Parse([]byte(extensions(list))); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(3, func() { r.SelectDeflate(ws.DeflatePolicy{}) }); n != 0 {
			t.Errorf("%q: %v allocations", unit, n)
		}
	}
}

func TestAppendUpgradeChecksDeflate(t *testing.T) {
	var r ws.Request
	if err := r.Parse([]byte(extensions("permessage-deflate"))); err != nil {
		t.Fatal(err)
	}
	for _, p := range []ws.DeflateParams{{ServerMaxWindowBits: 7, ClientMaxWindowBits: 15}, {ServerMaxWindowBits: 15, ClientMaxWindowBits: 16}, {ServerMaxWindowBits: 15}} {
		got, err := ws.AppendUpgrade([]byte("before"), &r, &ws.Response{Deflate: p})
		if err == nil || string(got) != "before" {
			t.Errorf("%+v: %q, %v", p, got, err)
		}
	}
}

var (
	extensionToken = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
	extensionValue = `[ \t]*(?:=[ \t]*(?:` + extensionToken + `|"(?:\\?` + extensionToken + `)+")[ \t]*)?`
	extensionForm  = `[ \t]*` + extensionToken + `[ \t]*(?:;[ \t]*` + extensionToken + extensionValue + `)*`
	extensionList  = regexp.MustCompile(`^(?:[ \t]*,|` + extensionForm + `(?:,|$))*[ \t]*$`)
	extensionEach  = regexp.MustCompile(extensionForm)
	deflateForm    = regexp.MustCompile(`(?i)^[ \t]*permessage-deflate[ \t]*((?:;[ \t]*(?:(?:server|client)_no_context_takeover|client_max_window_bits|(?:server|client)_max_window_bits[ \t]*=[ \t]*(?:8|9|1[0-5]))[ \t]*)*)$`)
	deflateParam   = regexp.MustCompile(`[a-z_]+`)
)

// referenceMalformed tells of one line, by other means, that it fails the handshake.
func referenceMalformed(line string) bool {
	elements, empty := strings.Split(line, ","), 0
	for _, e := range elements {
		if strings.Trim(e, " \t") == "" {
			empty++
		}
	}
	return !extensionList.MatchString(line) || empty > 8 || empty == len(elements)
}

// referenceOffer is the first valid offer of one line, by regular expressions.
func referenceOffer(line string) (offer string, found bool) {
	for _, e := range extensionEach.FindAllString(line, -1) {
		m := deflateForm.FindStringSubmatch(e)
		if m == nil {
			continue
		}
		offer = strings.ToLower(m[1])
		names, seen := deflateParam.FindAllString(offer, -1), map[string]bool{}
		for _, name := range names {
			seen[name] = true
		}
		if len(seen) == len(names) {
			return offer, true
		}
	}
	return "", false
}

// FuzzSelectDeflate holds the answer to a list of offers to one made by regular
// expressions.
func FuzzSelectDeflate(f *testing.F) {
	for _, line := range []string{
		"permessage-deflate; client_max_window_bits", "a,a,a", `foo; x="a,\"b"; y, permessage-deflate; server_max_window_bits=10`,
		"permessage-deflate; server_max_window_bits=7, permessage-deflate; client_no_context_takeover; client_max_window_bits=9",
		`permessage-deflate; server_max_window_bits="9",,permessage-deflate`, "a b", "a;", ";a", `a;b="`, "\t,\t", `a; b = "\c"`, "permessage-deflate; server_max_window_bits =\t12", ",,,,,,,,,a",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == 0xfffd }) {
			return // no field value
		}
		got := answered(t, extensions(line), ws.DeflatePolicy{ServerTakeover: true, ClientTakeover: true})
		if malformed := referenceMalformed(line); malformed || got == refused {
			if !malformed || got != refused {
				t.Fatalf("%q is answered with %q, malformed %v", line, got, malformed)
			}
			return
		}
		offer, found := referenceOffer(line)
		if found != (got != "") {
			t.Fatalf("%q is answered with %q", line, got)
		}
		if !found {
			return
		}
		want := "permessage-deflate"
		for _, name := range []string{"server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"} {
			_, value, offered := strings.Cut(offer, name)
			bits := 0
			_, _ = fmt.Sscanf(strings.NewReplacer(" ", "", "\t", "").Replace(value), "=%d", &bits)
			switch {
			case !offered || name == "client_max_window_bits" && (bits == 0 || bits == 15):
			case bits > 0:
				want += fmt.Sprintf("; %s=%d", name, bits)
			default:
				want += "; " + name
			}
		}
		if got != want {
			t.Fatalf("%q is answered with %q, not %q", line, got, want)
		}
	})
}
