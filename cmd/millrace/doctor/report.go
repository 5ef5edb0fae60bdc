package doctor

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Report is what a machine can hold.
type Report struct {
	System      string            `json:"system"`
	Connections uint64            `json:"connections"` // that it holds; 0 also if no limit is known
	Binding     string            `json:"binding"`     // the limit that is met first
	Target      uint64            `json:"target,omitempty"`
	Holds       bool              `json:"holds"` // the target, if there is one; false if no limit is known
	Goal        uint64            `json:"goal"`  // what the changes are for: the target, or what memory allows
	Each        Each              `json:"each"`
	Limits      []Limit           `json:"limits"` // the narrowest first
	Settings    []Setting         `json:"settings"`
	Machine     map[string]Number `json:"machine"`
	Unread      []string          `json:"unread"`
}

// Each is what a connection is taken to need.
type Each struct {
	UserBytes     uint64 `json:"user_bytes"` // TLS and OwnBytes included
	OwnBytes      uint64 `json:"own_bytes"`  // of the application
	KernelBytes   uint64 `json:"kernel_bytes"`
	ActivePercent uint64 `json:"active_percent"` // of connections, which take ActivePages more
	ActivePages   uint64 `json:"active_pages"`
}

// Examine says what the machine holds and how that compares with the plan.
func Examine(m Machine, p Plan) *Report {
	r := &Report{
		System: m.System, Target: p.Target, Goal: p.Target, Machine: m.Values, Unread: append([]string{}, m.Unread...),
		Each:   Each{UserBytes: p.userBytes(), OwnBytes: p.OwnBytes, KernelBytes: KernelBytes, ActivePercent: p.Active, ActivePages: ActivePages},
		Limits: []Limit{}, Settings: []Setting{},
	}
	all := bounds(&m, p)
	if len(all) > 0 {
		r.Connections, r.Binding = all[0].connections(), all[0].name
		r.Holds = r.Connections >= p.Target
	}
	if r.Goal == 0 {
		r.Goal = reachable(all)
	}
	for _, b := range all {
		r.Limits = append(r.Limits, b.limit(r.Goal))
	}
	if found := settings(&m, p, r.Goal); len(found) > 0 {
		r.Settings = found
	}
	return r
}

// reachable is how many connections there could be by changing settings alone:
// as many as memory holds, rounded down to two digits.
func reachable(all []bound) uint64 {
	i := slices.IndexFunc(all, func(b bound) bool { return b.name == "memory" })
	if i < 0 {
		return 0
	}
	n, unit := all[i].connections(), uint64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return n / unit * unit
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	r.verdict(&b)
	fmt.Fprintf(&b, "Counted for each: %s of user memory, %s of the kernel's; %d %% have a message under way (%d pages more).\n",
		bytesText(r.Each.UserBytes), bytesText(r.Each.KernelBytes), r.Each.ActivePercent, r.Each.ActivePages)
	if len(r.Limits) > 0 {
		b.WriteByte('\n')
		r.limitTable(&b)
	}
	if len(r.Settings) > 0 {
		b.WriteString("\nNo limits of what it holds, but worth a look:\n\n")
		r.settingList(&b)
	}
	if len(r.Unread) > 0 {
		fmt.Fprintf(&b, "\nCould not be read here: %s.\n", strings.Join(r.Unread, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) verdict(b *strings.Builder) {
	switch {
	case len(r.Limits) == 0:
		fmt.Fprintf(b, "No limit of this machine (%s) is known: it can't be said what it holds.\n", r.System)
	case r.Target == 0:
		fmt.Fprintf(b, "This machine holds %s connections. What binds first: %s.\n", count(r.Connections), r.Limits[0].What)
	case r.Holds:
		fmt.Fprintf(b, "This machine holds the %s connections; it would hold %s. What binds first: %s.\n",
			count(r.Target), count(r.Connections), r.Limits[0].What)
	default:
		fmt.Fprintf(b, "This machine holds %s connections, not %s. What binds first: %s.\n",
			count(r.Connections), count(r.Target), r.Limits[0].What)
		b.WriteString("To hold them, change what has an entry in the last column.\n")
	}
}

func (r *Report) limitTable(b *strings.Builder) {
	last := ""
	if slices.ContainsFunc(r.Limits, func(l Limit) bool { return len(l.Change) > 0 }) {
		last = "to hold " + count(r.Goal)
	}
	rows := [][]string{{"connections", "limit", "value", last}}
	for _, l := range r.Limits {
		row := []string{count(l.Connections), l.What, l.Value, ""}
		for i, change := range l.Change {
			if i > 0 {
				row = []string{"", "", "", ""}
			}
			row[3] = change
			rows = append(rows, row)
		}
		if len(l.Change) == 0 {
			rows = append(rows, row)
		}
	}
	align(b, rows)
}

func (r *Report) settingList(b *strings.Builder) {
	for _, s := range r.Settings {
		fmt.Fprintf(b, "  %s: %s\n      %s\n", s.Name, s.Value, s.What)
		if s.Change != "" {
			fmt.Fprintf(b, "      better: %s\n", s.Change)
		}
	}
}

// align writes rows in columns, the first one to the right.
func align(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := fmt.Sprintf("%*s", width[0], row[0])
		for i, cell := range row[1:] {
			line += fmt.Sprintf("  %-*s", width[i+1], cell)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// count is a number with commas.
func count(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// counted is a number of which some are used.
func counted(n, used uint64, unit string) string {
	return fmt.Sprintf("%s%s (%s used)", count(n), unit, count(used))
}

// bytesText is a size with up to three digits.
func bytesText(n uint64) string {
	size, unit := float64(n), 0
	for size >= 999.5 && unit < len(sizeUnits)-1 {
		size /= 1024
		unit++
	}
	return strconv.FormatFloat(size, 'g', 3, 64) + sizeUnits[unit]
}

var sizeUnits = []string{" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"}
