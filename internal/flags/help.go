package flags

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Refuse ends a command that has nothing to do: it prints the help if err is [ErrHelp],
// and else the error on stderr, in one line, and below it where to read more. It gives
// the exit status.
func (s *Set) Refuse(err error, stdout, stderr io.Writer) (status int) {
	if errors.Is(err, ErrHelp) {
		s.PrintHelp(stdout)
		return Done
	}
	complain(stderr, s.Command, err, fmt.Sprintf("Run '%s --help' for its flags and what they take.", s.Command))
	return Misuse
}

// Fail prints the error of a command that went wrong on stderr, each line with the
// command before it, and gives the exit status.
func (s *Set) Fail(err error, stderr io.Writer) (status int) {
	complain(stderr, s.Command, err, "")
	return Failed
}

// complain prints in one piece, so that nothing comes between the lines.
func complain(stderr io.Writer, command string, err error, hint string) {
	var b strings.Builder
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(&b, "%s: %s\n", command, strings.TrimSpace(line))
	}
	if hint != "" {
		fmt.Fprintln(&b, hint)
	}
	_, _ = io.WriteString(stderr, b.String()) // there is nobody else to tell
}

// PrintHelp writes what the command does and all its flags, with their defaults.
func (s *Set) PrintHelp(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s %s\n\n%s\n", s.Command, cmp.Or(s.Usage, "[flags]"), strings.TrimSpace(s.About))
	if s.Prefix != "" {
		b.WriteString("\nEach flag can also be set by the environment variable behind it; the flag wins.\n")
	}
	for _, g := range s.Groups {
		fmt.Fprintf(&b, "\n%s:\n", g.Title)
		for _, o := range g.Options {
			s.printOption(&b, o)
		}
	}
	s.printValues(&b)
	if s.Notes != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(s.Notes))
	}
	_, _ = io.WriteString(w, b.String()) // there is nobody else to tell
}

// printOption writes a flag, its variable, what it does and its default.
func (s *Set) printOption(w io.Writer, o Option) {
	const indent = "\n        "
	line := strings.TrimSpace("--" + o.Name + " " + o.Value)
	if s.Prefix != "" {
		line += "  [" + s.variable(o.Name) + "]"
	}
	line += indent + strings.ReplaceAll(o.Help, "\n", indent)
	if o.Value != "" {
		line += indent + "(default " + cmp.Or(o.Default, "none") + ")"
	}
	fmt.Fprintf(w, "  %s\n", line)
}

// valueHelp is what the help's words for values stand for.
var valueHelp = []struct{ value, help string }{
	{"SIZE", "SIZE is a number of bytes or one with a unit: 64k, 1m, 1g, 64KiB, 1MiB (all powers of 1024)."},
	{"TIME", "TIME is a number with its unit: 500ms, 30s, 5m, 1h30m."},
}

// zeroHelp is for flags that set fields, where 0 is the default.
const zeroHelp = "0 is the default of a number, a SIZE or a TIME unless its flag says otherwise; off is no bound or never,\n" +
	"and -1 is the same, where a flag takes it."

func (s *Set) printValues(w io.Writer) {
	var lines []string
	for _, v := range valueHelp {
		if slices.ContainsFunc(s.options(), func(o Option) bool { return o.Value == v.value }) {
			lines = append(lines, v.help)
		}
	}
	if s.find(func(o Option) bool { return o.Fields != "" }) != nil {
		lines = append(lines, zeroHelp)
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n%s\n", strings.Join(lines, "\n"))
	}
}
