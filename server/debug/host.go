package debug

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// CheckHost has next answer requests only that were made to an IP address, to localhost
// or to one of the names, whatever the port: to all others it answers 421. A page
// whose own name has begun to point at this server (DNS rebinding) is of the same origin
// as all that it finds there, and the browser lets it read and post; but the name in Host
// is still its own. A request without Host, which no browser sends, passes.
func CheckHost(next http.Handler, names ...string) http.Handler {
	allowed := make([]string, len(names))
	for i, name := range names {
		allowed[i] = plainHost(name)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := plainHost(r.Host)
		_, err := netip.ParseAddr(host)
		if err == nil || r.Host == "" || host == "localhost" || slices.Contains(allowed, host) {
			next.ServeHTTP(w, r)
			return
		}
		http.Error(w, "the Host "+strconv.QuoteToASCII(shorten(host))+" is no IP address, not localhost and no name that is allowed here: "+
			"--admin-host NAME (names given to package debug) allows it", http.StatusMisdirectedRequest)
	})
}

// plainHost is a host in one form: without port and brackets, in small letters.
func plainHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// maxHost is the longest name there can be, in bytes.
const maxHost = 253

func shorten(host string) string { return host[:min(len(host), maxHost)] }
