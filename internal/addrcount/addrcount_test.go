package addrcount_test

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/internal/addrcount"
)

func TestKeyOf(t *testing.T) {
	for _, same := range [][2]string{
		{"192.0.2.1", "::ffff:192.0.2.1"}, {"2001:db8::1", "2001:db8::ffff:1"}, {"2001:db8::1", "2001:db8:0:0:1::"},
	} {
		if addrcount.KeyOf(netip.MustParseAddr(same[0])) != addrcount.KeyOf(netip.MustParseAddr(same[1])) {
			t.Errorf("%s and %s are two", same[0], same[1])
		}
	}
	for _, other := range [][2]string{
		{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8:0:1::1"}, {"0.0.0.1", "::1"}, {"192.0.2.1", "0:0:c000:201::"},
	} {
		if addrcount.KeyOf(netip.MustParseAddr(other[0])) == addrcount.KeyOf(netip.MustParseAddr(other[1])) {
			t.Errorf("%s and %s are one", other[0], other[1])
		}
	}
}

// TestCounts has many goroutines enter and leave: there are never more than may be, and
// in the end there is room for all again.
func TestCounts(t *testing.T) {
	const most, each, goers = 5, 200, 8
	counts := addrcount.New()
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	var now [2]atomic.Int32
	var all sync.WaitGroup
	for range goers {
		all.Go(func() {
			for i := range each {
				which := i % 2
				if !counts.Enter(addrs[which], most) {
					continue
				}
				if n := now[which].Add(1); n > most {
					t.Errorf("%d of %v", n, addrs[which])
				}
				now[which].Add(-1)
				counts.Leave(addrs[which])
			}
		})
	}
	all.Wait()
	for _, addr := range addrs {
		for i := range most {
			if !counts.Enter(addr, most) {
				t.Errorf("no room for %v, of which there are %d", addr, i)
			}
		}
		if counts.Enter(addr, most) {
			t.Errorf("more than %d of %v", most, addr)
		}
	}
}
