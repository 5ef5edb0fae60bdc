package serve

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/debug"
	"github.com/millrace/millrace/server/prom"
)

// Bounds of a scrape, which may also come on the main port.
const (
	scrapesAtOnce  = 4             // more wait for their turn
	scrapesWaiting = adminMaxConns // more get 503
	scrapeTime     = 10 * time.Second
)

// metricsOf are what Prometheus gets: the server's metrics, the Go runtime's and the
// process's.
func metricsOf(srv *server.Server) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		prom.NewCollector(srv),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return registry
}

// metricsPage answers Prometheus. Each address has its own, so that whoever scrapes
// the public one leaves the other's places free. A place is held while the answer is
// made, which TimeoutHandler has in memory, and not while it is written.
func metricsPage(registry *prometheus.Registry, log *slog.Logger) http.Handler {
	page := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError, // what there is, is worth having
		Registry:      registry,
	})
	return http.TimeoutHandler(inTurn(page, scrapesAtOnce, scrapesWaiting), scrapeTime, "no scrape in time\n")
}

// inTurn has next answer some requests at once, while some others wait.
func inTurn(next http.Handler, atOnce, waiting int) http.Handler {
	inside, turn := make(chan struct{}, atOnce+waiting), make(chan struct{}, atOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case inside <- struct{}{}:
			defer func() { <-inside }()
		default:
			http.Error(w, "others scrape already: try again", http.StatusServiceUnavailable)
			return
		}
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
			next.ServeHTTP(w, r)
		case <-r.Context().Done(): // TimeoutHandler has answered, or the peer is gone
		}
	})
}

// scrapeHost has metrics answered for names that no page of the public Internet can
// have, besides those of debug.CheckHost: a scraper asks for a service by its name.
func scrapeHost(metrics http.Handler, names []string) http.Handler {
	checked := debug.CheckHost(metrics, names...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if privateName(r.Host) {
			metrics.ServeHTTP(w, r)
			return
		}
		checked.ServeHTTP(w, r)
	})
}

// privateDomains are not in the public DNS: of multicast DNS and Kubernetes' default
// cluster.local (RFC 6762), reserved by ICANN for private use, and Kubernetes' short form.
var privateDomains = []string{".local", ".internal", ".svc"}

// privateName says whether a Host is a name without a dot, as in a Compose file, or in a
// private domain.
func privateName(host string) bool {
	name, _, _ := strings.Cut(strings.ToLower(host), ":")
	switch {
	case name == "" || name[0] == '[':
		return false // none, or an IPv6 address
	case !strings.Contains(name, "."):
		return true
	}
	return slices.ContainsFunc(privateDomains, func(domain string) bool { return strings.HasSuffix(name, domain) })
}
