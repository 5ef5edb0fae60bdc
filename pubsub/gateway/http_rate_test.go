package gateway

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestManyPosters: beyond the bound newcomers wait, and those who are full again are looked for once a second.
func TestManyPosters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPostRate(10, 30)
		for i := range maxPosters {
			p.take(poster{user: strconv.Itoa(i)})
		}
		time.Sleep(sweepEach / 2) // all are full again, but nobody has looked
		if p.take(poster{user: "newcomer"}) || !p.take(poster{user: "0"}) {
			t.Error("a newcomer comes in, or one who is known does not")
		}
		time.Sleep(sweepEach)
		if !p.take(poster{user: "newcomer"}) || len(p.full) != 1 {
			t.Errorf("%d posters are remembered", len(p.full))
		}
	})
}
