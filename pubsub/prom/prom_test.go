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
