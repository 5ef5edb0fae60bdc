// Package prom shows a broker's figures to Prometheus. It is a package of its own so that a
// program without it does not bring the client library along:
//
//	registry.MustRegister(prom.NewCollector(broker))
//
// docs/cluster.md lists the metrics.
package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/pubsub/nats"
)

// NewCollector gives a broker's metrics. Several brokers in one registry need a label each, see
// prometheus.WrapRegistererWith.
func NewCollector(b *nats.Broker) prometheus.Collector { return collector{b} }

type collector struct{ broker *nats.Broker }

// metric is one metric.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*nats.Stats) float64
}

func gauge(name, help string, value func(*nats.Stats) float64) metric {
	return metric{prometheus.NewDesc("millrace_nats_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(*nats.Stats) uint64) metric {
	m := gauge(name, help, func(s *nats.Stats) float64 { return float64(value(s)) })
	m.kind = prometheus.CounterValue
	return m
}

var metrics = []metric{
	gauge("connected", "1 while there is a connection to NATS, else 0.", func(s *nats.Stats) float64 {
		if s.Connected {
			return 1
		}
		return 0
	}),
	gauge("stream_unusable", "1 while the stream was not found yet, or does not answer, else 0.", func(s *nats.Stats) float64 {
		if s.StreamError != "" || s.Stream != "" && !s.StreamFound {
			return 1
		}
		return 0
	}),
	gauge("subscriptions", "Topics and filters that the node wants from NATS, now.", func(s *nats.Stats) float64 { return float64(s.Subscriptions) }),
	gauge("subscriptions_unready", "Those that the server does not know yet.", func(s *nats.Stats) float64 { return float64(s.Unready) }),
	counter("connects_total", "Connections made to NATS.", func(s *nats.Stats) uint64 { return s.Connects }),
	counter("connections_lost_total", "Connections to NATS that ended by themselves.", func(s *nats.Stats) uint64 { return s.Lost }),
	counter("gaps_total", "Times that the hub was told that messages may be missing.", func(s *nats.Stats) uint64 { return s.Gaps }),
	counter("messages_received_total", "Messages of topics that came from NATS.", func(s *nats.Stats) uint64 { return s.Received }),
	counter("messages_published_total", "Messages that NATS took.", func(s *nats.Stats) uint64 { return s.Published }),
	counter("messages_dropped_total", "Messages from NATS that were dropped since the node was too slow.", func(s *nats.Stats) uint64 { return s.Dropped }),
	counter("messages_refused_total", "Messages from NATS that the hub had no room for.", func(s *nats.Stats) uint64 { return s.Refused }),
	counter("messages_foreign_total", "Messages from NATS whose subject is no topic's, or, of a stream, whose headers can not be read.", func(s *nats.Stats) uint64 { return s.Foreign }),
}

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range metrics {
		descs <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	stats := c.broker.Stats()
	for _, m := range metrics {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&stats))
	}
}
