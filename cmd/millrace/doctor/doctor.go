// Package doctor is the command "millrace doctor": it reads the machine and says
// how many connections a server on it can hold, which limit binds first, and what
// raises it. Reading (machine.go, cgroup.go) and calculation (limits.go,
// settings.go) are apart, so that machines can be made up; report.go shows the
// result.
package doctor

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
)

// Exit statuses.
const (
	done   = 0
	failed = 1
	misuse = 2
)

const (
	maxTarget   = 1 << 40 // connections; beyond what any kernel can count
	maxOwnBytes = 1 << 30
)

const help = `Usage: millrace doctor [flags]

Reads this machine and says how many idle connections "millrace serve" can hold on
it, which limit binds first, then the next ones, each with what raises it. It reads
the limits of its own process: run it as the server runs, as the same user and in
the same unit or container. It changes nothing.

Flags:
  --target N
        say whether N connections can be held, and if not, what to change
        (default none)
  --active PERCENT
        how many of them have a message under way at once, both ways
        (default 10)
  --own-bytes N
        bytes of user memory a connection that the handlers keep for it
        (default 0)
  --tls
        the server ends TLS itself, which takes 6,400 bytes more for each
        (default off)
  --json
        the report as JSON

Exit status: 0 the report is printed and the target, if there is one, can be held;
1 it can't, or nothing could be read; 2 wrong flags.
`

// Main runs the command with its flags on this machine and gives its exit status:
// 0 when the report is on stdout and the target, if there is one, can be held, 1
// when it can't or nothing could be read, 2 for wrong flags, which are told in one
// line on stderr.
func Main(args []string, stdout, stderr io.Writer) (status int) {
	p, asJSON, err := readPlan(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help)
		return done
	case err != nil:
		fmt.Fprintln(stderr, "millrace doctor:", err)
		return misuse
	}
	r := Examine(thisMachine(), p)
	if asJSON {
		err = r.writeJSON(stdout)
	} else {
		err = r.WriteText(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "millrace doctor: writing the report:", err)
		return failed
	}
	if !r.Holds {
		return failed
	}
	return done
}

// readPlan reads the flags. An error is one line, or flag.ErrHelp when help was
// asked for.
func readPlan(args []string) (p Plan, asJSON bool, err error) {
	p.Active = 10
	flags := flag.NewFlagSet("millrace doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error
	flags.BoolVar(&asJSON, "json", false, "")
	flags.BoolVar(&p.TLS, "tls", false, "")
	var wrong error // flag would wrap it in words of its own
	number := func(name string, to *uint64, least, most uint64) {
		flags.Func(name, "", func(text string) error {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil || n < least || n > most {
				wrong = fmt.Errorf("--%s: invalid value %q: want a whole number from %d to %d", name, text, least, most)
				return wrong
			}
			*to = n
			return nil
		})
	}
	number("target", &p.Target, 1, maxTarget)
	number("active", &p.Active, 0, 100)
	number("own-bytes", &p.OwnBytes, 0, maxOwnBytes)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return p, false, err
	case wrong != nil:
		return p, false, wrong
	case err != nil:
		return p, false, fmt.Errorf("%w (millrace doctor --help lists the flags that are allowed)", err)
	case flags.NArg() > 0:
		return p, false, fmt.Errorf("unexpected argument %q (only flags are allowed, millrace doctor --help lists them)", flags.Arg(0))
	}
	return p, asJSON, nil
}

func (r *Report) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
