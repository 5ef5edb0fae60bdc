// Package prom shows a server's counts to Prometheus. It is a package of its own
// so that a server without it does not bring the client library along:
//
//	registry.MustRegister(prom.NewCollector(srv))
//
// Names follow Prometheus' conventions: base units, _total for what only grows.
// docs/metrics-and-alerts.md lists them all.
package prom

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// NewCollector gives srv's metrics. It may be registered before srv is started.
// Several servers in one registry need a label each:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"server": "public"}, registry)
func NewCollector(srv *server.Server) prometheus.Collector { return collector{srv} }

type collector struct{ srv *server.Server }

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range metrics {
		descs <- m.desc
	}
	descs <- loopLag
}

// Collect implements prometheus.Collector. It reads atomics and no connection.
func (c collector) Collect(out chan<- prometheus.Metric) {
	stats := c.srv.Stats()
	for _, m := range metrics {
		m.collect(&stats, func(v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
		})
	}
	out <- lagMetric(&stats.LoopLag)
}

// metric is one metric and where its values come from: set is called once for
// each combination of its labels.
type metric struct {
	desc    *prometheus.Desc
	kind    prometheus.ValueType
	collect func(s *server.ServerStats, set func(v float64, labels ...string))
}

const namespace = "millrace"

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// counter is a metric without labels that only grows.
func counter(name, help string, value func(*server.ServerStats) uint64) metric {
	return metric{describe(name, help), prometheus.CounterValue, func(s *server.ServerStats, set func(float64, ...string)) {
		set(float64(value(s)))
	}}
}

// gauge is a metric without labels that goes up and down.
func gauge(name, help string, value func(*server.ServerStats) int) metric {
	return metric{describe(name, help), prometheus.GaugeValue, func(s *server.ServerStats, set func(float64, ...string)) {
		set(float64(value(s)))
	}}
}

var metrics = []metric{
	{describe("connections", "Connections now, by state.", "state"), prometheus.GaugeValue, states},
	gauge("connections_bridged", "Connections that goroutines of their own carry, now.", func(s *server.ServerStats) int { return int(s.Bridged) }),
	counter("connections_accepted_total", "Connections accepted.", func(s *server.ServerStats) uint64 { return s.Accepted }),
	counter("connections_handed_over_total", "Connections given to net/http for plain requests.", func(s *server.ServerStats) uint64 { return s.HandedToHTTP }),
	counter("connections_returned_total", "Connections given back by net/http: an upgrade, or a request that is refused, came behind a page.", func(s *server.ServerStats) uint64 { return s.Returned }),
	counter("accept_errors_total", "Connections that found no room: out of descriptors, memory or epoll watches.", func(s *server.ServerStats) uint64 { return s.AcceptErrors }),
	counter("proxy_refused_total", "Connections closed for want of a right PROXY header.", func(s *server.ServerStats) uint64 { return s.ProxyRefused }),
	{describe("tls_handshakes_total", "TLS handshakes, by outcome.", "outcome"), prometheus.CounterValue, tlsHandshakes},
	{describe("tls_handshakes", "TLS handshakes now, by state.", "state"), prometheus.GaugeValue, tlsHandshakesNow},
	{describe("upgrades_total", "Requests answered by the WebSocket server itself, by HTTP status; 101 is an open connection.", "code"), prometheus.CounterValue, upgrades},
	{describe("closes_total", "Ends of WebSockets, by close code and by who closed; 1006 is without a close frame.", "code", "by"), prometheus.CounterValue, closes},
	gauge("event_streams", "Event streams now, which count among the connections.", func(s *server.ServerStats) int { return int(s.EventStreams.Open) }),
	counter("event_streams_opened_total", "Event streams opened.", func(s *server.ServerStats) uint64 { return s.EventStreams.Opened }),
	{describe("event_streams_ended_total", "Ends of event streams, by who ended them.", "by"), prometheus.CounterValue, streamEnds},
	counter("event_stream_comments_total", "Comments sent to silent event streams.", func(s *server.ServerStats) uint64 { return s.EventStreams.Comments }),
	counter("event_stream_messages_not_text_total", "Binary messages of groups that an event stream had no form for.", func(s *server.ServerStats) uint64 { return s.EventStreams.NotText }),
	counter("messages_received_total", "Messages received, text and binary.", func(s *server.ServerStats) uint64 { return s.MessagesIn }),
	counter("messages_sent_total", "Messages accepted for sending, text and binary.", func(s *server.ServerStats) uint64 { return s.MessagesOut }),
	counter("received_bytes_total", "Bytes received, handshakes included.", func(s *server.ServerStats) uint64 { return s.BytesIn }),
	counter("sent_bytes_total", "Bytes accepted for sending, handshakes included.", func(s *server.ServerStats) uint64 { return s.BytesOut }),
	counter("messages_dropped_total", "Messages not sent because a connection's queue was full, or too small for them.", func(s *server.ServerStats) uint64 { return s.Dropped }),
	counter("messages_deflated_total", "Messages sent compressed.", func(s *server.ServerStats) uint64 { return s.Deflated.Messages }),
	{describe("deflated_bytes_total", "Bytes of the messages sent compressed, by form.", "form"), prometheus.CounterValue, deflated},
	counter("messages_inflated_total", "Messages received compressed.", func(s *server.ServerStats) uint64 { return s.Inflated.Messages }),
	{describe("inflated_bytes_total", "Bytes of the messages received compressed, by form.", "form"), prometheus.CounterValue, inflated},
	gauge("deflate_windows_bytes", "Memory promised to connections for context takeover.", func(s *server.ServerStats) int { return int(s.Windows) }),
	gauge("connections_paused", "Connections that are not read now: their queue is above its mark, or their handler asked for it.", func(s *server.ServerStats) int { return int(s.Paused) }),
	counter("pauses_total", "Times a connection was paused.", func(s *server.ServerStats) uint64 { return s.Pauses }),
	gauge("queues", "Connections with an outbound queue now.", func(s *server.ServerStats) int { return s.Queues }),
	gauge("queues_bytes", "Memory that all outbound queues hold now.", func(s *server.ServerStats) int { return int(s.Backlog) }),
	gauge("inbound_bytes", "Memory that all unfinished input holds now: heads, messages, and what paused connections have read.", func(s *server.ServerStats) int { return int(s.Inbound) }),
	counter("keepalive_pings_total", "Keepalive pings sent.", func(s *server.ServerStats) uint64 { return s.Pings }),
	counter("keepalive_failures_total", "Connections closed because the peer gave no sign of life.", func(s *server.ServerStats) uint64 { return s.Dead }),
	counter("handler_panics_total", "Handlers that panicked.", func(s *server.ServerStats) uint64 { return s.Panics }),
	counter("group_messages_total", "Messages sent to groups, however many members there were.", func(s *server.ServerStats) uint64 { return s.Group.Sent }),
	counter("group_messages_refused_total", "Messages to groups that were refused: too much was waiting to be passed on.", func(s *server.ServerStats) uint64 { return s.Group.Refused }),
	{describe("group_messages_dropped_total", "Messages of groups that a member did not get since it read too slowly, by reason.", "reason"), prometheus.CounterValue, groupDrops},
	counter("log_records_dropped_total", "Log records that were not written: the handler was too slow or failed, or too many told of single peers.", func(s *server.ServerStats) uint64 { return s.LogDropped }),
	{describe("limits_met_total", "Times a limit was met, by limit.", "limit"), prometheus.CounterValue, limits},
	{describe("ready", "Whether new connections are welcome: 1 or 0."), prometheus.GaugeValue, ready},
	{describe("drain_phase", "Where the server stands in its life: 1 for the phase it is in, 0 for the others.", "phase"), prometheus.GaugeValue, phases},
	{describe("drain_connections_total", "Connections that have ended since draining began, by end.", "end"), prometheus.CounterValue, drained},
	gauge("http_connections", "Connections that net/http has now, of those that came in by the server's own port.", func(s *server.ServerStats) int { return int(s.Drain.HTTP) }),
	gauge("loops", "Event loops.", func(s *server.ServerStats) int { return s.Loops }),
	counter("loop_handovers_total", "Loops taken from a slow handler.", func(s *server.ServerStats) uint64 { return s.Handovers }),
	counter("loop_waits_total", "Times a slow loop could not be taken since all workers were held.", func(s *server.ServerStats) uint64 { return s.Waits }),
	{describe("workers", "Workers now, by state.", "state"), prometheus.GaugeValue, workers},
	gauge("workers_max", "Workers there may be.", func(s *server.ServerStats) int { return s.Workers.Max }),
}

var loopLag = describe("loop_lag_seconds", "How long a busy loop takes to see what is posted to it, asked every 100 ms.")

func states(s *server.ServerStats, set func(float64, ...string)) {
	set(float64(s.States.Handshake), "handshake")
	set(float64(s.States.Open), "open")
	set(float64(s.States.Closing), "closing")
	set(float64(s.States.Ending), "ending")
}

func groupDrops(s *server.ServerStats, set func(float64, ...string)) {
	set(float64(s.Group.DroppedNewest), "newest")
	set(float64(s.Group.DroppedOldest), "oldest")
	set(float64(s.Group.Replaced), "key")
	set(float64(s.Group.Expired), "expired")
}

func streamEnds(s *server.ServerStats, set func(float64, ...string)) {
	set(float64(s.EventStreams.Left), "client")
	set(float64(s.EventStreams.Ended), "server")
}

func deflated(s *server.ServerStats, set func(float64, ...string)) { forms(s.Deflated, set) }

func inflated(s *server.ServerStats, set func(float64, ...string)) { forms(s.Inflated, set) }

func forms(c server.Compressed, set func(float64, ...string)) {
	set(float64(c.Bytes), "plain")
	set(float64(c.Packed), "compressed")
}

func tlsHandshakes(s *server.ServerStats, set func(float64, ...string)) {
	set(float64(s.TLSHandshakes), "done")
	set(float64(s.TLSFailed), "failed")
}

func tlsHandshakesNow(s *server.ServerStats, set func(float64, ...string)) {
	set(float64(s.TLSUnderWay), "under_way")
	set(float64(s.TLSWaiting), "waiting")
}

func workers(s *server.ServerStats, set func(float64, ...string)) {
	set(float64(s.Workers.Leading), "leading")
	set(float64(s.Workers.Standby), "standby")
	set(float64(s.Workers.Held), "held")
}

func upgrades(s *server.ServerStats, set func(float64, ...string)) {
	set(float64(s.Upgraded), "101")
	for status, n := range s.Refusals {
		set(float64(n), strconv.Itoa(status))
	}
}

func ready(s *server.ServerStats, set func(float64, ...string)) {
	if s.Ready {
		set(1)
	} else {
		set(0)
	}
}

func phases(s *server.ServerStats, set func(float64, ...string)) {
	for phase := server.PhaseServing; phase <= server.PhaseStopped; phase++ {
		if phase == s.Drain.Phase {
			set(1, phase.String())
		} else {
			set(0, phase.String())
		}
	}
}

func drained(s *server.ServerStats, set func(float64, ...string)) {
	set(float64(s.Drain.Closed), "closed")
	set(float64(s.Drain.Cut), "cut")
}

func limits(s *server.ServerStats, set func(float64, ...string)) {
	for limit, n := range s.Limits {
		set(float64(n), server.Limit(limit).String())
	}
}

func closes(s *server.ServerStats, set func(float64, ...string)) {
	for _, c := range s.Closes {
		by := "server"
		if c.Remote {
			by = "peer"
		}
		set(float64(c.Count), closeLabel(c.Code), by)
	}
}

// closeLabel names a code, or the codes that are counted together.
func closeLabel(code ws.Code) string {
	switch code {
	case 0:
		return "other"
	case 3000, 4000:
		return strconv.Itoa(int(code)) + "-" + strconv.Itoa(int(code)+999)
	}
	return strconv.Itoa(int(code))
}

func lagMetric(h *server.Histogram) prometheus.Metric {
	buckets := make(map[float64]uint64, len(server.LagBounds))
	sum := uint64(0)
	for i, bound := range server.LagBounds {
		sum += h.Counts[i]
		buckets[bound.Seconds()] = sum
	}
	return prometheus.MustNewConstHistogram(loopLag, h.Count(), h.Sum.Seconds(), buckets)
}
