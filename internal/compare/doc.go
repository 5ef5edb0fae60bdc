// Package compare is the command "millbench compare". [Main] runs it; the types are
// what it writes with --json.
//
// It holds servers against each other under the same loads. Each run starts a server
// anew, pinned to its CPUs, and a load generator, millbench or wsload, pinned to
// others. The servers take turns within each repetition, so that a slow phase of the
// machine hits all of them. The results are the ratios between runs of the same
// repetition: their median and its confidence interval.
package compare

// compare.go has the way of a comparison, options.go its flags, servers.go the servers,
// scenarios.go the loads, generators.go what makes them, run.go one run, estimate.go the
// statistics, bars.go the bars that millrace has to reach. The rest shows the results.
