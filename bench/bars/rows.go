package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// figures is what wsload prints of one run.
type figures struct {
	Opened    int     `json:"opened"`
	Failed    int     `json:"failed"`
	Closed    int     `json:"closed"`
	Messages  float64 `json:"msgs_s"`            // a second
	P99       float64 `json:"p99_us"`            // microseconds
	CPU       float64 `json:"server_cpu_us_msg"` // microseconds a message, or a connection in churn
	RSSOfConn float64 `json:"rss_per_conn"`      // bytes
}

// server is a server to load: a program in the build folder and its arguments,
// where PORT stands for the port's number.
type server struct {
	name, program string
	args          []string
}

var (
	floor   = &server{"floor", "floor", args("PORT")}
	echo    = &server{"millrace", "echo", args("--listen 127.0.0.1:PORT")}
	stalled = &server{"millrace, some sleep", "echo", args("--listen 127.0.0.1:PORT --stall-every 20000 --stall 50ms")}
)

// row is one line of DESIGN.md's numbers.
type row struct {
	name   string
	load   []string // wsload's arguments
	base   *server  // what ours is divided by; nil: the bar is absolute
	ours   *server
	what   string // the figure's unit
	figure func(figures) float64
	bar    float64
	least  bool // the bar is a lower bound
}

func cpu(f figures) float64        { return f.CPU }
func throughput(f figures) float64 { return f.Messages }
func p99(f figures) float64        { return f.P99 }
func memory(f figures) float64     { return f.RSSOfConn }

func args(s string) []string { return strings.Fields(s) }

var rows = []row{
	{name: "echo 64 B, 100 connections", load: args("-m echo -c 100 -s 64 -d 1"), base: floor, ours: echo, what: "CPU us/message", figure: cpu, bar: 1.10},
	{name: "echo 64 B, 1,000 connections", load: args("-m echo -c 1000 -s 64 -d 1"), base: floor, ours: echo, what: "CPU us/message", figure: cpu, bar: 1.10},
	{name: "echo 64 B, 10,000 connections", load: args("-m echo -c 10000 -s 64 -d 1"), base: floor, ours: echo, what: "CPU us/message", figure: cpu, bar: 1.10},
	{name: "echo 64 B, 16 in flight", load: args("-m echo -c 1000 -s 64 -d 16"), base: floor, ours: echo, what: "messages/s", figure: throughput, bar: 0.80, least: true},
	{name: "echo 64 KiB, 100 connections", load: args("-m echo -c 100 -s 65536 -d 1"), base: floor, ours: echo, what: "messages/s", figure: throughput, bar: 0.85, least: true},
	{name: "connect, upgrade, close", load: args("-m churn -d 64"), base: floor, ours: echo, what: "CPU us/connection", figure: cpu, bar: 1.25},
	{name: "open loop, 20,000 messages/s", load: args("-m rate -r 20000 -c 1000 -s 64"), base: floor, ours: echo, what: "p99 us", figure: p99, bar: 2},
	{name: "idle, 15,000 connections", load: args("-m idle -c 15000"), ours: echo, what: "RSS B/connection", figure: memory, bar: 200},
	{name: "1 in 20,000 sleeps 50 ms, 1,000 connections", load: args("-m echo -c 1000 -s 64 -d 1"), base: echo, ours: stalled, what: "p99 us", figure: p99, bar: 1.5},
	{name: "1 in 20,000 sleeps 50 ms, 100 connections", load: args("-m echo -c 100 -s 64 -d 1"), base: echo, ours: stalled, what: "p99 us", figure: p99, bar: 1.5},
}

// result is a row and its figures, one of each repetition.
type result struct {
	row
	baseFigures, ourFigures []float64
}

// value is what the bar is held against: the ratio of the medians, or the
// median itself where there is no base.
func (r result) value() float64 {
	if r.base == nil {
		return median(r.ourFigures)
	}
	return median(r.ourFigures) / median(r.baseFigures)
}

func (r result) pass() bool {
	if r.least {
		return r.value() >= r.bar
	}
	return r.value() <= r.bar
}

// spread gives the lowest and the highest value of single repetitions.
func (r result) spread() (lowest, highest float64) {
	values := slices.Clone(r.ourFigures)
	if r.base != nil {
		for i := range values {
			values[i] /= r.baseFigures[i]
		}
	}
	return slices.Min(values), slices.Max(values)
}

// median of at least one figure; of an even number the mean of the middle two.
func median(figures []float64) float64 {
	s := slices.SortedFunc(slices.Values(figures), cmp.Compare[float64])
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// table renders the results as markdown.
func table(results []result, reps, seconds int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d runs of %d s, server on core 0, load on core 1.\n\n", reps, seconds)
	b.WriteString("| what | figure | base | millrace | ratio | lowest-highest | bar | |\n")
	b.WriteString("|---|---|--:|--:|--:|--:|--:|---|\n")
	for _, r := range results {
		base, ratio, bar := "", "", fmt.Sprintf("<= %.4g", r.bar)
		if r.base != nil {
			base, ratio = fmt.Sprintf("%.5g", median(r.baseFigures)), fmt.Sprintf("%.2fx", r.value())
			bar = fmt.Sprintf("<= %.2fx", r.bar)
		}
		verdict := "over"
		if r.least {
			bar, verdict = strings.Replace(bar, "<", ">", 1), "under"
		}
		if r.pass() {
			verdict = "PASS"
		}
		lowest, highest := r.spread()
		fmt.Fprintf(&b, "| %s | %s | %s | %.5g | %s | %.3g-%.3g | %s | %s |\n",
			r.name, r.what, base, median(r.ourFigures), ratio, lowest, highest, bar, verdict)
	}
	b.WriteString("\nThe base is the C floor; of the rows that sleep it is millrace with no handler sleeping.\n")
	return b.String()
}
