package prom_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/pubsub/nats/prom"
)

// TestMetrics: the metrics are named as Prometheus wants it, and are those that docs/cluster.md lists.
func TestMetrics(t *testing.T) {
	b := nats.New(nats.Options{})
	b.Interest("a", true)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prom.NewCollector(b))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	var names, listed []string
	for _, f := range families {
		names = append(names, f.GetName())
		m := f.GetMetric()[0]
		if got := m.GetGauge().GetValue() + m.GetCounter().GetValue(); (got > 0) != strings.HasPrefix(f.GetName(), "millrace_nats_subscriptions") {
			t.Errorf("%s is %v", f.GetName(), got)
		}
	}
	page, err := os.ReadFile("../../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(millrace_nats_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, row[1])
	}
	slices.Sort(listed)
	if !slices.Equal(names, listed) {
		t.Errorf("docs/cluster.md lists %q, there are %q", listed, names)
	}
}
