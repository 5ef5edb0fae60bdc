package compare

import (
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

// Comparison is what a comparison measured, and the content of --json.
type Comparison struct {
	Command string    `json:"command"` // that gave it
	Started time.Time `json:"started"`
	// Machine is as the first good run found it.
	Machine    result.Machine `json:"machine"`
	ServerCPUs string         `json:"server_cpus"` // as taskset's -c; "": all
	ClientCPUs string         `json:"client_cpus"`
	// Generator made the loads: millbench or wsload.
	Generator string `json:"generator"`
	// Repetitions that were asked for; fewer runs of a server are good if some
	// failed.
	Repetitions int           `json:"repetitions"`
	Warmup      time.Duration `json:"warmup_ns"`
	Duration    time.Duration `json:"duration_ns"` // of what is measured in a run
	// Servers, in the order asked for: ratios are to the first.
	Servers   []Server   `json:"servers"`
	Scenarios []Scenario `json:"scenarios"`
	Notes     []string   `json:"notes,omitempty"` // what a reader should know
}

// Server is one that was compared.
type Server struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"` // of what it is built from; "": not known
	Command string `json:"command"`
	Path    string `json:"path"` // of its URL
	// Scenarios are the only ones that it takes part in; none: all.
	Scenarios []string `json:"scenarios,omitempty"`
}

func (s *Server) takesPart(scenario string) bool {
	return len(s.Scenarios) == 0 || slices.Contains(s.Scenarios, scenario)
}

// Scenario is a load and how the servers bore it.
type Scenario struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Load    string    `json:"load"`    // the generator's arguments
	Figures []string  `json:"figures"` // those that matter here, see result.Result.Figures
	Runs    []Run     `json:"runs"`    // in the order they were made
	Summary []Summary `json:"summary"` // of each server and each of Figures
}

// Run is one server under load once.
type Run struct {
	Server     string `json:"server"`
	Repetition int    `json:"repetition"` // from 1
	// Figures are all that the run measured.
	Figures map[string]float64 `json:"figures,omitempty"`
	// Bottleneck is why the client bounded the figures; "" if it did not.
	Bottleneck string `json:"bottleneck,omitempty"`
	// Error is why the run failed and is counted nowhere; "" if it did not.
	Error string `json:"error,omitempty"`
}

// Summary is a figure of a server over all good runs.
type Summary struct {
	Server string   `json:"server"`
	Figure string   `json:"figure"`
	Value  Estimate `json:"value"`
	Ratio  Estimate `json:"ratio"` // to the first server
}

// good tells whether no run failed.
func (c *Comparison) good() bool {
	return !slices.ContainsFunc(c.Scenarios, func(s Scenario) bool {
		return slices.ContainsFunc(s.Runs, func(r Run) bool { return r.Error != "" })
	})
}

// tally counts the runs of a server.
func (s *Scenario) tally(server string) (good, failed int) {
	for _, r := range s.Runs {
		switch {
		case r.Server != server:
		case r.Error != "":
			failed++
		default:
			good++
		}
	}
	return good, failed
}

// remarks tells what failed, and where the client was too slow: at most two lines
// for each server, with the first reason.
func (s *Scenario) remarks(servers []Server) []string {
	var lines []string
	remark := func(server Server, what string, reason func(Run) string) {
		var reasons []string
		runs := 0
		for _, r := range s.Runs {
			if r.Server != server.Name {
				continue
			}
			runs++
			if why := reason(r); why != "" {
				reasons = append(reasons, why)
			}
		}
		if len(reasons) > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d of %d runs %s: %s", server.Name, len(reasons), runs, what, reasons[0]))
		}
	}
	for _, server := range servers {
		remark(server, "failed and are left out", func(r Run) string { return r.Error })
		remark(server, "were bounded by the client", func(r Run) string { return r.Bottleneck })
	}
	return lines
}

// describe gives a figure's unit, and whether more of it is better.
func describe(figure string) (unit string, moreIsBetter bool) {
	f, _ := new(result.Result).Figure(figure)
	return f.Unit, f.MoreIsBetter
}

// format gives a figure's value for a person to read.
func format(figure string, value float64) string {
	unit, _ := describe(figure)
	return report.Format(value, unit)
}
