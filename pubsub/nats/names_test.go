package nats

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/pubsub"
)

// TestSubjects: names are mapped as the package's documentation says.
func TestSubjects(t *testing.T) {
	for _, tt := range []struct {
		prefix, name string
		interest     Interest
		want         string // several with a space between them
	}{
		{"", "orders/eu/42", ByTopic, "orders.eu.42"},
		{"app.", "orders/eu/42", ByTopic, "app.orders.eu.42"},
		{"", "a/+/c", ByTopic, "a.*.c"},
		{"", "a/#", ByTopic, "a.> a"},
		{"", "#", ByTopic, ">"},
		{"app.", "+/#", ByTopic, "app.*.> app.*"},
		{"", "x.y", ByTopic, "x%2Ey"},
		{"", "ä ö/*/>", ByTopic, "ä%20ö.%2A.%3E"},
		{"", "/", ByTopic, "%00.%00"},
		{"", "_a/_b/$c", ByTopic, "%5Fa._b.$c"},
		{"", "50%\t\x7f", ByTopic, "50%25%09%7F"},
		{"", "a/b", ByPartition, "268.a.b"},
		{"app.", "a/+", ByPartition, "app.*.a.*"},
		{"app.", "a/#", ByPartition, "app.*.a.> app.*.a"},
	} {
		n := naming{tt.prefix, tt.interest}
		if got := n.matching(tt.name); !slices.Equal(got, strings.Split(tt.want, " ")) {
			t.Errorf("%q is %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct {
		interest Interest
		name     string
		want     string
	}{
		{All, "a/b", "app.>"}, {All, "a/#", "app.>"}, {ByPartition, "a/b", "app.268.>"}, {ByTopic, "a/b", "app.a.b"},
	} {
		if got := (naming{"app.", tt.interest}).wanted(tt.name); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%q is subscribed to as %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, subject := range []string{"", "other.a", "app.", "app.$a", "app._a", "app.a%", "app.a%2", "app.a%2e", "app.a%41", "app.a%GG", "app.a..b", "app.a.+", "app.a.#b", "app.a\xff", "app.a%00", "app." + strings.Repeat("a", 3000)} {
		if name, ok := (naming{"app.", ByTopic}).topic(subject); ok {
			t.Errorf("%q is the topic %q", subject, name)
		}
	}
}

// FuzzSubject: each name has a subject, of which it is the only name, and each subject that
// is a topic's is that topic's only one.
func FuzzSubject(f *testing.F) {
	for _, seed := range []string{"a/b", "/", "", "x.y", "ä ö/*/>", "%41", "a%00", "_x", "$x", "+", "a/#", "\x00", "\xff", "%", "a//b"} {
		f.Add(seed, "app.", uint8(ByTopic))
		f.Add(seed, "", uint8(ByPartition))
	}
	f.Fuzz(func(t *testing.T, text, prefix string, interest uint8) {
		n := naming{prefix, Interest(interest % 3)}
		if name, ok := n.topic(text); ok && n.subject(name) != text {
			t.Fatalf("the subject %q is the topic %q, whose subject is %q", text, name, n.subject(name))
		}
		if text == "" || len(text) > 256 || pubsub.IsFilter(text) || text[0] == '$' || !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return // no topic's name
		}
		subject := n.subject(text)
		if name, ok := n.topic(subject); !ok || name != text {
			t.Fatalf("%q is the subject %q, which is the topic %q", text, subject, name)
		}
		for token := range strings.SplitSeq(strings.TrimPrefix(subject, prefix), ".") {
			if token == "" || strings.ContainsAny(token, "*> \r\n\t") {
				t.Fatalf("%q is the subject %q, which is none", text, subject)
			}
		}
	})
}
