// Package prom shows a hub's figures to Prometheus. It is a package of its own so that a
// program without it does not bring the client library along:
//
//	registry.MustRegister(prom.NewCollector(hub))
//
// docs/topics.md lists the metrics.
package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/pubsub"
)

// NewCollector gives a hub's metrics. Several hubs in one registry need a label each, see
// prometheus.WrapRegistererWith.
func NewCollector(hub *pubsub.Hub) prometheus.Collector { return collector{hub} }

type collector struct{ hub *pubsub.Hub }

// metric is one metric.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*pubsub.Stats) float64
}

func gauge(name, help string, value func(*pubsub.Stats) float64) metric {
	return metric{prometheus.NewDesc("millrace_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(*pubsub.Stats) uint64) metric {
	m := gauge(name, help, func(s *pubsub.Stats) float64 { return float64(value(s)) })
	m.kind = prometheus.CounterValue
	return m
}

var metrics = []metric{
	gauge("topics", "Topics that have subscribers or a history, now.", func(s *pubsub.Stats) float64 { return float64(s.Topics) }),
	gauge("topic_filters", "Filters that have subscribers, now.", func(s *pubsub.Stats) float64 { return float64(s.Filters) }),
	gauge("subscriptions", "Subscriptions of connections to topics and filters, now.", func(s *pubsub.Stats) float64 { return float64(s.Subscriptions) }),
	gauge("history_bytes", "Memory of all messages that are kept, now.", func(s *pubsub.Stats) float64 { return float64(s.HistoryBytes) }),
	counter("publications_total", "Messages published.", func(s *pubsub.Stats) uint64 { return s.Published }),
	counter("publications_refused_total", "Messages whose publication was refused.", func(s *pubsub.Stats) uint64 { return s.Refused }),
	counter("publications_too_fast_total", "Messages refused since their connection had published too many.", func(s *pubsub.Stats) uint64 { return s.TooFast }),
	counter("subscriptions_refused_total", "Subscriptions refused: too many topics or filters, or too many who wait for the broker.", func(s *pubsub.Stats) uint64 { return s.TooMany }),
	counter("broker_gaps_total", "Times the broker said that messages may be missing.", func(s *pubsub.Stats) uint64 { return s.Missed }),
	counter("history_fetches_total", "Times the broker was asked for the past of a topic.", func(s *pubsub.Stats) uint64 { return s.Fetched }),
	counter("history_fetches_failed_total", "Times the broker did not answer about the past of a topic.", func(s *pubsub.Stats) uint64 { return s.FetchFailed }),
	counter("history_fetches_refused_total", "Times the past was not read, or not to its end, since too much was being read.", func(s *pubsub.Stats) uint64 { return s.FetchRefused }),
	counter("node_messages_failed_total", "Messages to other nodes that could not be sent, or of theirs that could not be read.", func(s *pubsub.Stats) uint64 { return s.NodesFailed }),
	counter("presence_events_lost_total", "Presence events that found no room.", func(s *pubsub.Stats) uint64 { return s.EventsLost }),
}

var (
	nodes   = prometheus.NewDesc("millrace_nodes", "Nodes by state as this one knows them: live, draining, or gone since less than a minute; now.", []string{"state"}, nil)
	partial = prometheus.NewDesc("millrace_nodes_partial", "1 while this node may not know all members of topics, else 0.", nil, nil)
)

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- nodes
	descs <- partial
	for _, m := range metrics {
		descs <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	stats := c.hub.Stats()
	for _, m := range metrics {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&stats))
	}
	if all := c.hub.Nodes(); all != nil {
		c.collectNodes(all, out)
	}
}

func (c collector) collectNodes(all []pubsub.Node, out chan<- prometheus.Metric) {
	count := map[string]float64{"live": 0, "draining": 0, "gone": 0}
	for _, n := range all {
		switch {
		case n.Gone:
			count["gone"]++
		case n.Draining:
			count["draining"]++
		default:
			count["live"]++
		}
	}
	for state, n := range count {
		out <- prometheus.MustNewConstMetric(nodes, prometheus.GaugeValue, n, state)
	}
	lacking := 0.0
	if c.hub.Partial() {
		lacking = 1
	}
	out <- prometheus.MustNewConstMetric(partial, prometheus.GaugeValue, lacking)
}
