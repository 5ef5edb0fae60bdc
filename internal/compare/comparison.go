package compare

import (
	"cmp"
	"fmt"
	"runtime"
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
	// Slice is how much of that is measured in a turn, in scenarios whose servers take
	// turns within a repetition; 0: in none. It is more where a server answers too late
	// for it.
	Slice time.Duration `json:"slice_ns"`
	// Width is that of verdicts: 0.05 is 5 %. Until says that repetitions went on until
	// verdicts stood, at most for AtMost in each scenario.
	Width  float64       `json:"width"`
	Until  bool          `json:"until"`
	AtMost time.Duration `json:"at_most_ns"`
	// Confidence is that of the interval of each ratio. With Until it is more than 95 %,
	// so that all looks at the ratio together have that.
	Confidence float64 `json:"confidence"`
	// MostStolen is the share of a slice beyond which it is thrown away.
	MostStolen float64 `json:"most_stolen"`
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
	// Took is how long all of it took, with starting and connecting.
	Took time.Duration `json:"took_ns"`

	made int  // repetitions
	over bool // no further one is made
}

// Run is one server under load once.
type Run struct {
	Server     string `json:"server"`
	Repetition int    `json:"repetition"` // from 1
	// Figures are all that the run measured: in slices, the median of each over them.
	Figures map[string]float64 `json:"figures,omitempty"`
	// Bottleneck is why the client bounded the figures; "" if it did not.
	Bottleneck string `json:"bottleneck,omitempty"`
	// Error is why the run failed and is counted nowhere; "" if it did not.
	Error string `json:"error,omitempty"`
	// Slices are its parts, if the servers took turns within the repetition.
	Slices []Slice `json:"slices,omitempty"`

	machine result.Machine
}

// Slice is one turn of a server.
type Slice struct {
	// Turn is when it was, among those of all servers in the repetition, from 1.
	Turn int `json:"turn"`
	// Measured is how long it was, without settling.
	Measured time.Duration `json:"measured_ns"`
	// Figures are all that it measured; none if it was thrown away. The rate is 0 if
	// nothing came back.
	Figures    map[string]float64 `json:"figures,omitempty"`
	Bottleneck string             `json:"bottleneck,omitempty"`  // as that of a Run
	ThrownAway string             `json:"thrown_away,omitempty"` // why; "": it was not
}

// Summary is a figure of a server over all good runs.
type Summary struct {
	Server string   `json:"server"`
	Figure string   `json:"figure"`
	Value  Estimate `json:"value"`
	Ratio  Estimate `json:"ratio"` // to the first server
	// Verdict is what the ratio says; zero for the first server.
	Verdict Verdict `json:"verdict"`
}

// confidence is that of ratios.
func (c *Comparison) confidence() float64 { return cmp.Or(c.Confidence, confidence) }

// good tells whether no run failed, of each server something is known, and each figure
// of some server.
func (c *Comparison) good() bool {
	for _, s := range c.Scenarios {
		if len(c.unknown(&s)) > 0 {
			return false
		}
		for _, server := range c.Servers {
			good, failed := s.tally(server.Name)
			if failed > 0 || good == 0 && server.takesPart(s.Name) {
				return false
			}
		}
	}
	return true
}

// ofProcess are the figures that are read from the server's process.
var ofProcess = words("cpu rss handshake-cpu server-cores")

// unknown gives the figures of a scenario that are known of no server though some runs
// are good: then it is not the servers' fault. Wsload does not measure all, and only on
// Linux are processes read.
func (c *Comparison) unknown(s *Scenario) (names []string) {
	good := slices.ContainsFunc(s.Runs, func(r Run) bool { return len(r.Figures) > 0 })
	if !good || c.Generator != millbenchName {
		return nil
	}
	for _, name := range s.Figures {
		known := slices.ContainsFunc(c.Servers, func(o Server) bool { return len(s.values(o.Name, name)) > 0 })
		if !known && (runtime.GOOS == "linux" || !slices.Contains(ofProcess, name)) {
			names = append(names, name)
		}
	}
	return names
}

// tally counts the runs of a server. One all of whose slices were thrown away is
// neither good nor failed.
func (s *Scenario) tally(server string) (good, failed int) {
	for _, r := range s.Runs {
		switch {
		case r.Server != server:
		case r.Error != "":
			failed++
		case len(r.Figures) > 0:
			good++
		}
	}
	return good, failed
}

// remarks tells what failed, what was thrown away, and where the client was too slow:
// at most three lines for each server, with one of the reasons.
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
		if line := s.thrownAway(server.Name); line != "" {
			lines = append(lines, line)
		}
		remark(server, "failed and are left out", func(r Run) string { return r.Error })
		remark(server, "were bounded by the client", func(r Run) string { return r.Bottleneck })
	}
	return lines
}

// thrownAway counts the slices of a server that were; "": none was.
func (s *Scenario) thrownAway(server string) string {
	all, gone, why := 0, 0, ""
	for _, r := range s.Runs {
		for _, slice := range r.Slices {
			if r.Server != server {
				continue
			}
			all++
			if slice.ThrownAway != "" {
				gone++
				why = slice.ThrownAway
			}
		}
	}
	if gone == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %d of %d slices were thrown away, as when %s", server, gone, all, why)
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
