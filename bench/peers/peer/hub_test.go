package peer_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/millrace/millrace/bench/peers/peer"
)

func TestHub(t *testing.T) {
	var h peer.Hub[int]
	if all := h.All(); len(all) != 0 {
		t.Errorf("an empty one has %v", all)
	}
	h.Open(1)
	h.Open(2)
	before := h.All()
	h.Close(1)
	h.Close(7) // is not in it
	h.Open(3)
	slices.Sort(before)
	after := slices.Sorted(slices.Values(h.All()))
	if !slices.Equal(before, []int{1, 2}) || !slices.Equal(after, []int{2, 3}) {
		t.Errorf("before %v, after %v", before, after)
	}
}

// TestHubConcurrently: who is in it is found by all that ask after that.
func TestHubConcurrently(t *testing.T) {
	var h peer.Hub[int]
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				h.Open(i)
				if !slices.Contains(h.All(), i) {
					t.Errorf("%d is in it, but not found", i)
				}
				h.Close(i)
				if slices.Contains(h.All(), i) {
					t.Errorf("%d is not in it, but found", i)
				}
			}
		})
	}
	wg.Wait()
}
