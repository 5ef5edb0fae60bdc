// Package report shows what a run measured: as a text for a terminal, as JSON, as
// HdrHistogram's percentile files, and as a page of its own with charts. It also
// checks results against thresholds.
//
// Times are microseconds and sizes bytes, as in package bench/result; they are shown in
// the unit that reads best. All functions only read the results they are given, and
// may be called from any goroutine.
package report
