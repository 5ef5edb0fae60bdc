// Package prom shows a gateway's figures to Prometheus. It is a package of its own so that a
// program without it does not bring the client library along:
//
//	registry.MustRegister(prom.NewCollector(g))
//
// docs/gateway.md lists the metrics.
package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/pubsub/gateway"
)

// NewCollector gives a gateway's metrics. Several gateways in one registry need a label each, see
// prometheus.WrapRegistererWith.
func NewCollector(g *gateway.Gateway) prometheus.Collector { return collector{g} }

type collector struct{ g *gateway.Gateway }

var (
	conns   = prometheus.NewDesc("millrace_gateway_connections", "Connections by form: raw payloads, envelopes, event streams; now.", []string{"form"}, nil)
	refused = prometheus.NewDesc("millrace_gateway_refused_total", "What clients have asked for and not got, by the error's word.", []string{"error"}, nil)
	resumed = prometheus.NewDesc("millrace_gateway_resumed_total", "Subscriptions with a position, by whether nothing was missing.", []string{"recovered"}, nil)
	expired = prometheus.NewDesc("millrace_gateway_expired_total", "Connections that ended with their tokens.", nil, nil)
	gaps    = prometheus.NewDesc("millrace_gateway_gaps_total", "Times that clients were told that the broker may have missed something.", nil, nil)
)

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{conns, refused, resumed, expired, gaps} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.g.Stats()
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for form, n := range s.Open {
		out <- prometheus.MustNewConstMetric(conns, prometheus.GaugeValue, float64(n), form)
	}
	for word, n := range s.Refused {
		counter(refused, n, string(word))
	}
	counter(resumed, s.Recovered, "true")
	counter(resumed, s.Missing, "false")
	counter(expired, s.Expired)
	counter(gaps, s.Gaps)
}
