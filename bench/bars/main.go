// Command bars measures millrace's echo server against the bars of DESIGN.md,
// side by side with the bare C floor: the server on core 0, the independent
// load generator on core 1, both servers in turn within each repetition, so that
// a machine that changes its mind slows both. It prints a markdown table of the
// medians.
//
//	go run ./bench/bars [-reps 5] [-t 3] [-only regexp]
//
// It runs in the module's root on Linux and needs cc, taskset and two cores.
// A missed bar is printed, not
// an exit status: on a busy machine it proves nothing. A run that lost
// connections exits 1.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bars:", err)
		os.Exit(1)
	}
}

func run() error {
	reps := flag.Int("reps", 5, "repetitions; the table has the medians")
	seconds := flag.Int("t", 3, "`seconds` of each measurement, after one to warm up")
	only := flag.String("only", "", "measure only rows whose name matches this `regexp`")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if *reps < 1 || *seconds < 1 {
		return errors.New("-reps and -t must be at least 1")
	}
	dir, err := os.MkdirTemp("", "bars")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		return err
	}

	var picked []row
	for _, r := range rows {
		if pattern.MatchString(r.name) {
			picked = append(picked, r)
		}
	}
	bench := bench{dir: dir, seconds: *seconds, progress: os.Stderr}
	results, err := bench.measure(picked, *reps)
	if err != nil {
		return err
	}
	fmt.Print(table(results, *reps, *seconds))
	return nil
}

// build compiles the load generator and both servers into dir.
func build(dir string) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, args := range [][]string{
		{"cc", "-O2", "-w", "-o", in("wsload"), "internal/wsload/c/wsload.c", "-lm"},
		{"cc", "-O3", "-w", "-march=native", "-o", in("floor"), "bench/peers/floor/floor.c", "-lpthread"},
		{"go", "build", "-o", in("echo"), "./bench/echo"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", args, err, out)
		}
	}
	return nil
}
