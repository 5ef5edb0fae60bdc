// Package result is what a run of package bench measured: a [Result] with its
// latencies, the server's CPU and memory, and what went wrong. It is the content
// of millbench's --json, and can be read back from there with encoding/json.
//
// Times are microseconds where they are numbers, sizes bytes. Nothing here is
// changed by a run that is over, and all of it may be read from any goroutine.
package result
