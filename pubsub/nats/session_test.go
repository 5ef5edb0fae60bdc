package nats

import (
	"slices"
	"strconv"
	"testing"
)

// TestServers: the servers of the cluster stay known, so many at most, the newest first, and have the user of the first URL.
func TestServers(t *testing.T) {
	for url, user := range map[string]string{
		"nats://a:1": "", "a:1": "", "nats://me:p%40ss@a:1": "me:p%40ss@", "me@a:1": "me@", "tls://tok@a:1,tls://other@b:1": "tok@",
	} {
		b := New(Options{URLs: []string{url}})
		b.find([]string{"nats://b:1"})
		b.find([]string{"nats://c:1", "nats://b:1"})
		b.find(nil)
		if got, want := b.servers(), []string{url, "nats://" + user + "c:1", "nats://" + user + "b:1"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		for i := range 100 {
			b.find([]string{"nats://" + strconv.Itoa(i)})
		}
		if got := b.servers(); len(got) != 1+mostFound || got[1] != "nats://"+user+"99" {
			t.Errorf("%q", got)
		}
	}
}
