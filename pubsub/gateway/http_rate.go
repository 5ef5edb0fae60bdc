package gateway

import (
	"cmp"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/rate"
)

// poster is whose rate counts: a user, or an address where there is none.
type poster struct {
	user string
	addr netip.Addr // of IPv6 the first 64 bits: one client usually has all below, as of Limits by address
}

func posterOf(a *ask) poster {
	if a.who.User != "" {
		return poster{user: a.who.User}
	}
	addr := a.plan.RemoteAddr.Addr().Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64)
		addr = prefix.Addr()
	}
	return poster{addr: addr}
}

// postRate bounds the messages that plain requests publish, by who sends them.
type postRate struct {
	limit rate.Limit
	bound string // in words
	began time.Time

	mu    sync.Mutex // no other lock is taken under it
	full  map[poster]time.Duration
	swept time.Duration // when full was last looked through; from began
}

const (
	// maxPosters bounds those who are remembered. Beyond it newcomers wait until others have.
	maxPosters = 100_000
	// sweepEach is how often those who have waited are looked for, at most: it takes milliseconds.
	sweepEach = time.Second
)

// rateInWords tells of a rate.
func rateInWords(perSecond, burst int) string {
	return fmt.Sprintf("%d messages a second, and %d at once", perSecond, cmp.Or(burst, perSecond))
}

func newPostRate(perSecond, burst int) *postRate {
	return &postRate{limit: rate.New(int64(perSecond), int64(burst)), bound: rateInWords(perSecond, burst), began: time.Now(), full: map[poster]time.Duration{}}
}

// take says whether one more is within the rate.
func (p *postRate) take(who poster) bool {
	if !p.limit.Limited() {
		return true
	}
	now := time.Since(p.began)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.full[who]; !known && len(p.full) >= maxPosters {
		p.sweep(now)
		if len(p.full) >= maxPosters {
			return false
		}
	}
	next, ok := p.limit.Take(p.full[who], now, now, 1)
	p.full[who] = next
	return ok
}

// sweep forgets those who are as if they had never been there. The caller holds mu.
func (p *postRate) sweep(now time.Duration) {
	if now < p.swept+sweepEach {
		return
	}
	p.swept = now
	for who, full := range p.full {
		if full <= now {
			delete(p.full, who)
		}
	}
}
