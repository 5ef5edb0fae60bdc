package main_test

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

// TestDoctor: the report on this machine, for people and for programs, and the
// exit status that says whether a target can be held.
func TestDoctor(t *testing.T) {
	t.Parallel()
	text, stderr, status := runToEnd(t, nil, "doctor")
	if status != 0 || stderr != "" || !strings.Contains(text, "What binds first: ") {
		t.Errorf("doctor: status %d, stderr %q, stdout:\n%s", status, stderr, text)
	}
	if said := strings.Contains(text, "Could not be read here: "); runtime.GOOS != "linux" && !said {
		t.Errorf("doctor does not say what it can't read on %s:\n%s", runtime.GOOS, text)
	}
	var report struct {
		Connections uint64
		Binding     string
		Holds       bool
		Limits      []struct {
			Name        string
			Connections uint64
		}
		Machine map[string]any
	}
	text, _, status = runToEnd(t, []string{"GOMEMLIMIT=1GiB", "GOMAXPROCS=3"}, "doctor", "--json", "--target", "1")
	if err := json.Unmarshal([]byte(text), &report); err != nil || status != 0 {
		t.Fatalf("doctor --json: status %d, %v in\n%s", status, err, text)
	}
	if !report.Holds || report.Connections == 0 || len(report.Limits) == 0 ||
		report.Limits[0].Name != report.Binding || report.Limits[0].Connections != report.Connections {
		t.Errorf("the report contradicts itself: %+v", report)
	}
	if m := report.Machine; m["GOMEMLIMIT"] != float64(1<<30) || m["GOMAXPROCS"] != 3.0 || m["GOGC"] != 100.0 {
		t.Errorf("of the Go runtime it read %v, %v and %v", m["GOMEMLIMIT"], m["GOMAXPROCS"], m["GOGC"])
	}
	if text, _, status := runToEnd(t, nil, "doctor", "--target=1099511627776"); status != 1 || !strings.Contains(text, "not 1,099,511,627,776") {
		t.Errorf("a target that no machine holds: status %d, stdout:\n%s", status, text)
	}
}

func TestDoctorMisuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"doctor --target=0", `--target: invalid value "0": want a whole number from 1 to 1099511627776`},
		{"doctor --target=-5", "--target: "},
		{"doctor --target=1e6", `"1e6"`},
		{"doctor --active=101", `--active: invalid value "101": want a whole number from 0 to 100`},
		{"doctor --own-bytes=1x", `--own-bytes: invalid value "1x": want a size such as 65536, 64k or 1MiB, from 0 to 1GiB`},
		{"doctor --json=maybe", "maybe"},
		{"doctor --tls=1.3", "1.3"},
		{"doctor --target", "--target: value missing: want a whole number from 1 to"},
		{"doctor --nonsense", "unknown flag --nonsense"},
		{"doctor now", `unexpected argument "now"`},
	} {
		expectMisuse(t, nil, strings.Fields(c.args), "millrace doctor: ", c.want)
	}
	for _, args := range []string{"doctor --help", "doctor -h", "help doctor"} {
		stdout, stderr, status := runToEnd(t, nil, strings.Fields(args)...)
		if status != 0 || stderr != "" || !strings.Contains(stdout, "Exit status:\n  0  the report is printed") || !strings.Contains(stdout, "(default 10)") {
			t.Errorf("%s: status %d, stderr %q, stdout:\n%s", args, status, stderr, stdout)
		}
	}
}
