package serve

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/prom"
)

// Bounds of a scrape, which may also come on the main port.
const (
	scrapesAtOnce = 4 // more get 503
	scrapeTime    = 10 * time.Second
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
// the public one leaves the other's place free.
func metricsPage(registry *prometheus.Registry, log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError, // what there is, is worth having
		Registry:            registry,
		MaxRequestsInFlight: scrapesAtOnce,
		Timeout:             scrapeTime,
	})
}
