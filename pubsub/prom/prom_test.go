package prom_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/prom"
	"github.com/millrace/millrace/server"
)

// TestMetrics: the metrics are named as Prometheus wants it, count what happens, and are those
// that docs/topics.md lists.
func TestMetrics(t *testing.T) {
	hub, err := pubsub.New(&server.Server{}, pubsub.Options{Rules: []pubsub.Rule{{Filter: "#", Messages: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hub.Close() }() // the broker of one process has no error
	if _, err := hub.Publish(context.Background(), pubsub.Message{Topic: "a"}, pubsub.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prom.NewCollector(hub))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
		m := f.GetMetric()[0]
		got := m.GetGauge().GetValue() + m.GetCounter().GetValue()
		if want := map[string]bool{"millrace_topics": true, "millrace_publications_total": true, "millrace_history_bytes": true}[f.GetName()]; (got > 0) != want {
			t.Errorf("%s is %v", f.GetName(), got)
		}
	}
	page, err := os.ReadFile("../../docs/topics.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(millrace_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, row[1])
	}
	slices.Sort(listed)
	if !slices.Equal(names, listed) {
		t.Errorf("docs/topics.md lists %q, there are %q", listed, names)
	}
}

// lone is a broker of a node that is alone.
type lone struct{ pubsub.Broker }

func (lone) Node() string { return "a" }

func (lone) Tell(string, []byte) error { return nil }

// TestNodes: with a broker that knows nodes there are two metrics more, which docs/cluster.md lists.
func TestNodes(t *testing.T) {
	hub, err := pubsub.New(&server.Server{}, pubsub.Options{Broker: lone{pubsub.InProcess()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hub.Close() }() // likewise
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prom.NewCollector(hub))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range families {
		switch f.GetName() {
		case "millrace_nodes":
			if m := f.GetMetric(); len(m) != 3 {
				t.Errorf("%v", m)
			}
		case "millrace_nodes_partial":
		default:
			continue
		}
		found++
		if !regexp.MustCompile("(?m)^\\| `" + f.GetName() + "` ").Match(page) {
			t.Errorf("docs/cluster.md does not list %s", f.GetName())
		}
	}
	if found != 2 {
		t.Errorf("found %d metrics of nodes", found)
	}
}
