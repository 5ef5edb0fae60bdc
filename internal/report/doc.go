// Package report shows what a run measured, and checks it against thresholds.
//
//	err := report.Summary(os.Stdout, r) // also HTML, WriteJSON, WriteHistogram
//	c, err := report.ParseCondition("p99>5ms")
//	holds, actual, err := c.Holds(r)
//
// Times are microseconds and sizes bytes, as in package bench/result; they are shown in
// the unit that reads best. All functions only read the results they are given, and
// may be called from any goroutine.
package report
