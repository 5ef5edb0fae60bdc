// Package doctor is the command "millrace doctor": it reads the machine and says
// how many connections a server on it can hold, which limit binds first, and what
// raises it. Reading (machine.go, cgroup.go) and calculation (limits.go,
// settings.go) are apart, so that machines can be made up; report.go shows the
// result.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/millrace/millrace/internal/flags"
)

const (
	maxTarget   = 1 << 40 // connections; beyond what any kernel can count
	maxOwnBytes = 1 << 30
)

// Main runs the command with its flags on this machine and gives its exit status:
// 0 when the report is on stdout and the target, if there is one, can be held, 1
// when it can't or nothing could be read, 2 for wrong flags, which are told on stderr.
func Main(args []string, stdout, stderr io.Writer) (status int) {
	var p Plan
	var asJSON bool
	set := flagSet(&p, &asJSON)
	if _, err := set.Read(args, nil); err != nil {
		return set.Refuse(err, stdout, stderr)
	}
	r := Examine(thisMachine(), p)
	write := r.WriteText
	if asJSON {
		write = r.writeJSON
	}
	if err := write(stdout); err != nil {
		return set.Fail(fmt.Errorf("writing the report: %w", err), stderr)
	}
	if !r.Holds {
		return flags.Failed
	}
	return flags.Done
}

// flagSet are the command's flags. They have no environment variables: those of
// millrace serve are around where it runs, and say other things.
func flagSet(p *Plan, asJSON *bool) *flags.Set {
	return &flags.Set{Command: "millrace doctor", About: about, Notes: statuses, Groups: []flags.Group{
		{Title: "What is to be held", Options: []flags.Option{
			flags.New("target", "N", "say whether N connections can be held, and if not, what to change", "", flags.Whole(&p.Target, 1, maxTarget)),
			flags.New("active", "PERCENT", "how many of them have a message under way at once, both ways", "10", flags.Whole(&p.Active, 0, 100)),
			flags.New("own-bytes", "SIZE", "user memory that the handlers keep for a connection", "0", flags.Size(&p.OwnBytes, 0, maxOwnBytes)),
			flags.New("tls", "", "the server ends TLS itself, which takes 6,400 bytes more for each", "", flags.Bool(&p.TLS)),
		}},
		{Title: "Output", Options: []flags.Option{
			flags.New("json", "", "the report as JSON", "", flags.Bool(asJSON)),
		}},
	}}
}

const about = `Reads this machine and says how many idle connections "millrace serve" can hold on
it, which limit binds first, then the next ones, each with what raises it. It reads
the limits of its own process: run it as the server runs, as the same user and in
the same unit or container. It changes nothing.`

const statuses = `
Exit status:
  0  the report is printed and the target, if there is one, can be held
  1  it can't, or nothing could be read
  2  wrong flags
`

func (r *Report) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
