package prom_test

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/prom"
)

func ExampleNewCollector() {
	srv := &server.Server{}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.NewCollector(srv)) // then: http.Handle("/metrics", promhttp.HandlerFor(registry, ...))

	families, err := registry.Gather()
	fmt.Println(families[0].GetName(), err)
	// Output: millrace_accept_errors_total <nil>
}
