// Package flags reads the command lines of our programs: flags, the environment
// variables of their names, and defaults. An error is one line that says which
// flag, what was wrong with it and what is allowed, and of a flag that is not
// there, which one may be meant.
//
// A program lists its flags once, as a [Set] of options; their help is printed
// from the same list. values.go has the kinds of values: whole numbers, sizes,
// times, choices.
package flags

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// Option is one flag.
type Option struct {
	Name    string
	Value   string // what stands for its value in the help; "": it has none, and Set gets "true"
	Help    string // may have several lines
	Default string // what Set gets if nobody has given another; "": Set is not called
	// Set keeps a value. It is called for each time that the flag is given, in their
	// order: one that adds to a list makes the flag repeatable.
	Set Setter
	// Alone is the value of the flag if none stands behind it: if it is followed by
	// another flag, or by nothing. "": it needs one.
	Alone string
}

// A Setter keeps a value, or says what it should have been: its error completes
// the sentence that begins with "want".
type Setter func(text string) error

// Set is the flags of a command.
type Set struct {
	Command string // as it is typed: "millrace serve"
	Options []Option
	// Aliases are other names of flags.
	Aliases map[string]string
	// Operand is the option that an argument without a dash stands for; "": there
	// are flags only.
	Operand string
	// Prefix begins the names of environment variables, as "MILLRACE_"; "": the
	// environment is not asked.
	Prefix string
	// Unknown says why a flag is not among the options, if another command has it;
	// "" if none has. It may be nil.
	Unknown func(name string) string
}

// given is one flag as it was given.
type given struct{ name, text string }

// Read takes each option from the arguments, or else from the environment, or else
// its default, and sets it. byHand has the names of those that somebody has given.
// The error is flag.ErrHelp when help was asked for.
func (s *Set) Read(args []string, lookupEnv func(string) (string, bool)) (byHand map[string]bool, err error) {
	all, err := s.parse(args)
	if err != nil {
		return nil, err
	}
	byHand = map[string]bool{}
	for _, g := range all {
		byHand[g.name] = true
	}
	for _, o := range s.Options {
		if byHand[o.Name] {
			continue
		}
		text, source := o.Default, "the default of --"+o.Name
		if s.Prefix != "" {
			if value, ok := lookupEnv(s.Variable(o.Name)); ok {
				text, source, byHand[o.Name] = value, s.Variable(o.Name), true
			}
		}
		if text == "" && !byHand[o.Name] {
			continue
		}
		if err := o.set(text, source); err != nil {
			return nil, err
		}
	}
	for _, g := range all {
		if err := s.option(g.name).set(g.text, "--"+g.name); err != nil {
			return nil, err
		}
	}
	return byHand, nil
}

func (o *Option) set(text, source string) error {
	if err := o.Set(text); err != nil {
		return fmt.Errorf("%s: invalid value %q: want %w", source, text, err)
	}
	return nil
}

// Variable is the environment variable of a flag.
func (s *Set) Variable(name string) string {
	return s.Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// option gives the option of that name, or nil.
func (s *Set) option(name string) *Option {
	if other, ok := s.Aliases[name]; ok {
		name = other
	}
	for i := range s.Options {
		if s.Options[i].Name == name {
			return &s.Options[i]
		}
	}
	return nil
}

// parse gives the flags in args, in their order. What they look like is what
// package flag takes: one dash or two, a value behind = or in the next argument,
// and -- before arguments that are no flags.
func (s *Set) parse(args []string) (all []given, err error) {
	flagsOver := false
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--" && !flagsOver:
			flagsOver = true
			continue
		case flagsOver || len(arg) < 2 || arg[0] != '-':
			if err := s.operand(arg, all); err != nil {
				return nil, err
			}
			all = append(all, given{s.Operand, arg})
			continue
		}
		g, used, err := s.flag(arg, args)
		if err != nil {
			return nil, err
		}
		all, args = append(all, g), args[used:]
	}
	return all, nil
}

// operand tells whether an argument that is no flag may stand where it does.
func (s *Set) operand(arg string, before []given) error {
	if s.Operand == "" {
		return fmt.Errorf("unexpected argument %q (only flags are allowed, %s --help lists them)", arg, s.Command)
	}
	for _, g := range before {
		if g.name == s.Operand {
			return fmt.Errorf("unexpected argument %q (--%s is given already, %s --help lists the flags)", arg, s.Operand, s.Command)
		}
	}
	return nil
}

// flag reads one flag, and says how many of the arguments behind it belong to it.
func (s *Set) flag(arg string, behind []string) (g given, used int, err error) {
	name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	name, text, hasValue := strings.Cut(name, "=")
	o := s.option(name)
	switch {
	case o == nil && (name == "help" || name == "h"):
		return given{}, 0, flag.ErrHelp
	case name == "" || name[0] == '-':
		return given{}, 0, s.wrong("bad flag syntax: %s", arg)
	case o == nil:
		return given{}, 0, s.unknown(name)
	case hasValue:
	case o.Value == "":
		text = "true"
	case len(behind) > 0 && (o.Alone == "" || !strings.HasPrefix(behind[0], "-")):
		text, used = behind[0], 1
	case o.Alone != "":
		text = o.Alone
	default:
		return given{}, 0, s.wrong("flag needs an argument: -%s", name)
	}
	return given{o.Name, text}, used, nil
}

func (s *Set) wrong(format string, args ...any) error {
	return fmt.Errorf(format+" (%s --help lists the flags that are allowed)", append(args, s.Command)...)
}

// unknown says that there is no such flag, and which one may be meant.
func (s *Set) unknown(name string) error {
	if s.Unknown != nil {
		if why := s.Unknown(name); why != "" {
			return fmt.Errorf("--%s: %s", name, why)
		}
	}
	names := []string{"help"}
	for _, o := range s.Options {
		names = append(names, o.Name)
	}
	if meant := Nearest(name, names); meant != "" {
		return s.wrong("flag provided but not defined: -%s: did you mean --%s?", name, meant)
	}
	return s.wrong("flag provided but not defined: -%s", name)
}

// What the help calls SIZE and TIME, a line each.
const (
	SizeHelp = "SIZE is a number of bytes or one with a unit: 64k, 1m, 1g, 64KiB, 1MiB (all powers of 1024).\n"
	TimeHelp = "TIME is a number with its unit: 500ms, 30s, 5m, 1h30m.\n"
)

// Print writes an option's lines of the help: its name, the environment variable
// if there is one, what it does and its default, for which none stands if it has
// none ("" leaves the line out).
func (s *Set) Print(w io.Writer, o Option, none string) {
	const indent = "\n        "
	line := strings.TrimSpace("--" + o.Name + " " + o.Value)
	if s.Prefix != "" {
		line += "  [" + s.Variable(o.Name) + "]"
	}
	line += indent + strings.ReplaceAll(o.Help, "\n", indent)
	byDefault := o.Default
	if byDefault == "" {
		byDefault = none
	}
	if byDefault != "" {
		line += indent + "(default " + byDefault + ")"
	}
	fmt.Fprintf(w, "  %s\n", line)
}
