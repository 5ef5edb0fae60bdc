// Package compare is the command "millbench compare": it holds servers against
// each other under the same loads. Each run starts a server anew, pinned to its
// CPUs, and loads it with millbench itself, or with wsload, a process of its own
// pinned to others. The servers take turns within each repetition, so that a machine that
// changes its mind slows all of them, and what counts are the ratios between
// runs of the same repetition: their median and its confidence interval.
//
// Read compare.go for the way of a comparison, servers.go for what can be
// compared, scenarios.go for the loads, generators.go for who makes them, run.go
// for one run, estimate.go for the statistics, bars.go for what we must reach. The rest shows what came out.
package compare
