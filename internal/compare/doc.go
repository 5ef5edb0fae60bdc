// Package compare is the command "millbench compare". [Main] runs it; the types are
// what it writes with --json.
//
// It holds servers against each other under the same loads. In each repetition it
// starts the servers anew, pinned to their CPUs, and a load generator, millbench or
// wsload, pinned to others. The servers take turns, so that a slow phase of the machine
// hits all of them: in slices of less than a second where the load can be cut (see
// load.Slices), each with a client of its own whose connections stay open, or else run
// by run. A slice is held against the nearest one of the first server, and each against
// one only. The ratio of two servers in a repetition is the median of these; over all
// repetitions it has an interval, and a verdict.
package compare

// compare.go has the way of a comparison, options.go its flags, repeat.go what is done
// how often and in which order; field.go fixes who is compared under what, servers.go
// and scenarios.go read that from the command line; generators.go makes loads; run.go is
// one run, slicer.go a repetition in slices, steal.go what the host takes away;
// estimate.go is the statistics, verdict.go what they say, looks.go when it is asked for
// again, bars.go the bars that millrace
// has to reach. The rest shows the results.
