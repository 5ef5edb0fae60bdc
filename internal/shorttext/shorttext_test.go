package shorttext_test

import (
	"testing"

	"github.com/millrace/millrace/internal/shorttext"
)

func TestCut(t *testing.T) {
	for _, test := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "abc..."}, {"ab\u00e9d", 3, "ab..."}, {"\U0001f600", 2, "..."}, {"", 0, ""}, {"a", 0, "..."},
		{"aaaa\x80\x80\x80\x80\x80\x80", 8, "aaaa..."}, {"\x80\x80\x80\x80\x80\x80\x80\x80\x80", 8, "\x80\x80\x80\x80..."}, // no UTF-8
	} {
		if got := shorttext.Cut(test.text, test.most); got != test.want {
			t.Errorf("%q to %d bytes: %q, want %q", test.text, test.most, got, test.want)
		}
	}
}
