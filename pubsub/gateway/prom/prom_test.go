package prom_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/pubsub/gateway/prom"
	"github.com/millrace/millrace/server"
)

// TestMetrics: the metrics are named as Prometheus wants it, and are those that docs/gateway.md lists.
func TestMetrics(t *testing.T) {
	hub, err := pubsub.New(&server.Server{}, pubsub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hub.Close() }() // the broker of one process has no error
	g, err := gateway.New(hub, gateway.Options{Open: true})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prom.NewCollector(g))
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
	}
	page, err := os.ReadFile("../../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(millrace_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, row[1])
	}
	slices.Sort(listed)
	if !slices.Equal(names, listed) {
		t.Errorf("docs/gateway.md lists %q, there are %q", listed, names)
	}
}
