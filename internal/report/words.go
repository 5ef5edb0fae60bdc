package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/millrace/millrace/bench/result"
)

// load says in a few words what a plan does to the server.
func load(p *result.Plan) string {
	connections := plural(p.Connections, "connection")
	message := payload(p) + " message"
	switch p.Scenario {
	case result.Echo:
		return fmt.Sprintf("%s, %ss, %s in flight each, %s", connections, message, number(float64(p.InFlight)), window(p))
	case result.Rate:
		return fmt.Sprintf("%s, %ss, %s in all, %s", connections, message, Format(p.Rate, "1/s"), window(p))
	case result.Sweep:
		return fmt.Sprintf("%s, %ss, from %s up, every %s at %s times the rate, until the p99 exceeds %s, to within %s", connections,
			message, Format(p.Rate, "1/s"), span(p.Duration), number(p.SweepFactor), span(p.SweepLimit), percent(p.SweepPrecision))
	case result.Idle:
		return fmt.Sprintf("%s held open, then a %s to each", connections, message)
	case result.Storm:
		return fmt.Sprintf("%s opened %s", connections, connectRate(p, "as fast as allowed"))
	case result.Churn:
		return fmt.Sprintf("%s at a time%s, each %s, ended by %s, %s", connections, resuming(p), lifetime(p), ending(p), window(p))
	case result.Wave:
		return fmt.Sprintf("%s drop by %s and come back, %s, %s apart", connections, dropping(p),
			plural(p.Waves, "time"), span(p.Duration))
	case result.Slow:
		return fmt.Sprintf("%s, %s of them reading %s, %ss, %s", connections, percent(p.SlowShare), slowness(p),
			message, window(p))
	case result.Broadcast:
		return fmt.Sprintf("%s, %s %ss %s%s, %s", ramped(p), publishers(p), message, pace(p), toStreams(p), window(p))
	case result.Receive:
		return fmt.Sprintf("%s that only receive, %s", connections, window(p))
	}
	return connections
}

// lifetime is what a connection of churn is for.
func lifetime(p *result.Plan) string {
	if p.Messages <= 0 {
		return "without a message"
	}
	return "for " + plural(p.Messages, "message") + " of " + payload(p)
}

func resuming(p *result.Plan) string {
	if !p.Resume {
		return ""
	}
	return " that resume TLS sessions"
}

// ramped is how many connections a broadcast has.
func ramped(p *result.Plan) string {
	if p.RampLimit <= 0 {
		return plural(p.Connections, "connection")
	}
	return fmt.Sprintf("up to %s, %s more each time until the p95 of the last arrival exceeds %s", plural(p.Connections, "connection"),
		number(float64(p.RampStep)), span(p.RampLimit))
}

func publishers(p *result.Plan) string {
	switch {
	case p.Publishers <= 1:
		return "one publishes"
	case p.Publishers >= p.Connections:
		return "all publish"
	}
	return number(float64(p.Publishers)) + " publish"
}

// pace is how a broadcast publishes.
func pace(p *result.Plan) string {
	if p.InFlight > 0 {
		return number(float64(p.InFlight)) + " in flight"
	}
	return "at " + Format(p.Rate, "1/s")
}

// toStreams says to what a broadcast's messages go if it is not WebSockets.
func toStreams(p *result.Plan) string {
	if !p.EventStreams {
		return ""
	}
	return " to event streams"
}

// payload is the size of a plan's messages.
func payload(p *result.Plan) string {
	least, most := Format(float64(p.MinSize), "B"), Format(float64(p.MaxSize), "B")
	if p.MaxSize <= p.MinSize {
		return least
	}
	return least + " to " + most
}

// window is what of a run is measured.
func window(p *result.Plan) string {
	if p.Warmup <= 0 {
		return "for " + span(p.Duration)
	}
	return fmt.Sprintf("for %s after %s of warm-up", span(p.Duration), span(p.Warmup))
}

func connectRate(p *result.Plan, unbounded string) string {
	if p.ConnectRate <= 0 {
		return unbounded
	}
	return "at " + Format(p.ConnectRate, "1/s")
}

func ending(p *result.Plan) string {
	if p.Reset {
		return "a reset"
	}
	return "a close handshake"
}

func dropping(p *result.Plan) string {
	if p.Reset {
		return "a reset"
	}
	return "a FIN without a close frame"
}

func slowness(p *result.Plan) string {
	if p.SlowRate <= 0 {
		return "nothing"
	}
	return Format(float64(p.SlowRate), "B") + "/s"
}

func percent(share float64) string { return number(share*100) + "%" }

// latencyNames says what Result.Latency is the time of, by scenario.
var latencyNames = map[string]string{
	result.Echo:      "round trip",
	result.Rate:      "from due time",
	result.Sweep:     "from due time",
	result.Idle:      "round trip",
	result.Storm:     "connect",
	result.Churn:     "whole life",
	result.Wave:      "connect",
	result.Slow:      "round trip",
	result.Broadcast: "arrival",
	result.Receive:   "gap",
}

// distribution is a Latency and what it is of. Class is that of its line in charts: each
// kind has its own.
type distribution struct {
	Name, Class string
	*result.Latency
}

// distributions gives those of a result that have at least one time.
func distributions(r *result.Result) []distribution {
	name := latencyNames[r.Plan.Scenario]
	if name == "" {
		name = "latency"
	}
	all := []distribution{
		{name, "blue", r.Latency}, {"service", "amber", r.Service}, {"last arrival", "red", r.Last}, {"skew", "teal", r.Skew},
	}
	if name != "connect" || r.Latency.Count() == 0 {
		all = append(all, distribution{"connect", "gray", r.Connect})
	}
	all = append(all, distribution{"sent late by", "", r.Client.Late})
	var measured []distribution
	for _, d := range all {
		if d.Count() > 0 {
			measured = append(measured, d)
		}
	}
	return measured
}

// fact is one line of what a run gave.
type fact struct{ Name, Text string }

// facts are the figures of a result that are no distribution, in words.
func facts(r *result.Result) []fact {
	var all []fact
	if r.Plan.Scenario == result.Sweep {
		all = append(all, fact{"knee", knee(r)})
	}
	all = append(all, []fact{
		{"connections", fmt.Sprintf("%s opened, %s failed, %s lost, %s open at the peak", number(float64(r.Opened)),
			number(float64(r.Failed)), number(float64(r.Lost)), number(float64(r.Peak)))},
		{"measured", measured(r)},
	}...)
	if r.EndedEarly != "" {
		all = append(all, fact{"ended early", clean(r.EndedEarly) + ": all figures are of what was done by then"})
	}
	if r.Publication != nil {
		all = append(all, fact{"published", published(r.Publication)})
	}
	if h := r.Handshakes; h != nil && (h.Count > 0 || h.Resumed > 0) {
		all = append(all, fact{"tls", handshakes(r)})
	}
	if r.Wire != nil {
		all = append(all, fact{"compression", fmt.Sprintf("%s of the payload sent, %s of that received, frames' headers included",
			percent(r.Wire.SentRatio()), percent(r.Wire.ReceivedRatio()))})
	}
	all = append(all, fact{"server", server(r)}, fact{"client", client(r)})
	if r.Client.Bottleneck != "" {
		all = append(all, fact{"bottleneck", "the client, not the server: " + clean(r.Client.Bottleneck)})
	}
	return all
}

// knee says what a sweep found.
func knee(r *result.Result) string {
	k := r.Knee
	if k == nil {
		return "not found: no rate held"
	}
	text := "at least " + Format(k.Low, "1/s")
	if k.High != nil {
		text = fmt.Sprintf("between %s and %s, which %s", Format(k.Low, "1/s"), Format(*k.High, "1/s"), broke(r))
	}
	if k.Bound != "" {
		text += "; not nearer, since " + clean(k.Bound)
	}
	if k.Noise > 0 {
		text += "; " + plural(k.Noise, "lone failure") + " aside"
	}
	if k.Disturbed > 0 {
		text += fmt.Sprintf("; disturbed and repeated: %d", k.Disturbed)
	}
	return text
}

// handshakes says what of TLS was done.
func handshakes(r *result.Result) string {
	h := r.Handshakes
	text := fmt.Sprintf("%s: %s", plural(h.Count, "handshake"), orDash(h.PerSecond, "1/s"))
	if f, _ := r.Figure("handshake-cpu"); f.Known {
		text += ", " + Format(f.Value, f.Unit) + " of CPU each"
	}
	return fmt.Sprintf("%s; %s of %s resumed over the whole run", text, number(float64(h.Resumed)), number(float64(h.All)))
}

// published says what was published, and what became of it.
func published(p *result.Publication) string {
	own := "not back to its publisher"
	if p.Own {
		own = "back to its publisher too"
	}
	missing := "-"
	if p.Missing != nil {
		missing = number(float64(*p.Missing))
	}
	text := fmt.Sprintf("%s: %s, each to all others and %s; %s missing, %s doubled", plural(p.Published, "message"),
		orDash(p.PerSecond, "1/s"), own, missing, number(float64(p.Doubled)))
	if p.Clients != nil && *p.Clients > 0 {
		text += fmt.Sprintf("; %s kept the limit", plural(*p.Clients, "client"))
	}
	return text
}

// broke says how the rate above the knee did not hold.
func broke(r *result.Result) string {
	if r.Knee.Broke == result.OverLimit {
		return "had a p99 above " + span(r.Plan.SweepLimit)
	}
	return "came back by less than 95%"
}

// unit is what a result counts, one of it.
func unit(r *result.Result) string { return clean(cmp.Or(r.Unit, "unit")) }

// hasRate tells whether units a second mean something: an idle server has none.
func hasRate(r *result.Result) bool { return r.Plan.Scenario != result.Idle }

func measured(r *result.Result) string {
	if r.Seconds <= 0 {
		return "nothing: the run did not get that far"
	}
	text := fmt.Sprintf("%s in %s", plural(r.Count, unit(r)), Format(r.Seconds*1e6, "us"))
	if !hasRate(r) {
		return text
	}
	text += ": " + Format(r.PerSecond, "1/s")
	if r.Bytes > 0 && r.Seconds > 0 {
		text += ", " + Format(float64(r.Bytes)/r.Seconds, "B") + "/s of payload"
	}
	return text
}

func server(r *result.Result) string {
	switch {
	case r.Server == nil && r.Plan.ServerPID < 0:
		return "its CPU and memory were not to be measured"
	case r.Server == nil:
		return "not found, so its CPU and memory are not known"
	}
	perUnit := result.Unknown()
	if r.Count > 0 {
		perUnit = r.Server.CPU
	}
	parts := []string{
		orDash(perUnit, "us") + " of CPU a " + unit(r),
		orDash(r.Server.Cores, "cores") + " busy",
		orDash(perConnection(r), "B") + " of RSS a connection",
		orDash(resident(r.Server.After), "B") + " in all",
	}
	name := clean(r.Server.Name)
	if name == "" {
		name = "process"
	}
	return fmt.Sprintf("%s (pid %d): %s", name, r.Server.PID, strings.Join(parts, ", "))
}

// orDash is Format for what may not be known.
func orDash(value float64, unit string) string {
	if !result.Known(value) {
		return "-"
	}
	return Format(value, unit)
}

// resident is a number of resident bytes; NaN if it is not known.
func resident(n int64) float64 {
	if n <= 0 {
		return result.Unknown()
	}
	return float64(n)
}

// perConnection is the server's memory for each connection; NaN if it is not known.
func perConnection(r *result.Result) float64 {
	if r.Server.After <= 0 {
		return result.Unknown()
	}
	return r.Server.PerConnection
}

func client(r *result.Result) string {
	return fmt.Sprintf("%s of %s busy, %s of memory", orDash(r.Client.Cores, ""),
		plural(r.Client.Available, "core"), orDash(resident(r.Client.Memory), "B"))
}

// troubles are what went wrong, a line each.
func troubles(r *result.Result) []string {
	var lines []string
	for _, t := range r.Troubles {
		lines = append(lines, number(float64(t.Count))+" x "+clean(t.What))
	}
	return lines
}

func notes(r *result.Result) []string {
	var lines []string
	for _, n := range r.Notes {
		lines = append(lines, clean(n))
	}
	return lines
}
