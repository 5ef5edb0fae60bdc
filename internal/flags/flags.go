// Package flags reads the command lines of our programs: subcommands, flags, the
// environment variables of the same names, and defaults.
//
// A command lists its flags once, as a [Set]: options in groups, each with a setter
// for its kind of value ([Whole], [Size], [Duration], [Choice], [List], ...).
//
//	set := &flags.Set{Command: "tool run", Prefix: "TOOL_", Groups: []flags.Group{
//		{Title: "Limits", Options: []flags.Option{
//			flags.New("max-size", "SIZE", "largest file", "1MiB", flags.Size(&c.maxSize, 0, flags.Unbounded)),
//		}},
//	}}
//	values, err := set.Read(os.Args[1:], os.Environ())
//	if err != nil {
//		return set.Refuse(err, os.Stdout, os.Stderr) // help, or what was wrong
//	}
//
// A [Program] picks the command, and prints the overview and the version. Nothing here
// may be called by several goroutines at once.
package flags

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Exit statuses of a program. A command may have others besides.
const (
	Done   = 0
	Failed = 1
	Misuse = 2 // the command line is wrong, and nothing was done
)

// ErrHelp is Read's error when help was asked for.
var ErrHelp = errors.New("flags: help was asked for")

// Option is one flag, and the environment variable of its name.
type Option struct {
	Name    string
	Value   string // stands for the value in the help: "SIZE"; "": it has none, and Set gets "true"
	Help    string // may have several lines
	Default string // what Set gets if nobody gives another; "": Set is not called
	Set     Setter
	// Alone is the value of a flag that is followed by another flag, or by nothing.
	// "": it needs one of its own.
	Alone string
	// Repeat says what it means to give the flag several times.
	Repeat Repeat
	// Fields are the fields that it sets, separated by spaces, as errors name them.
	Fields string
}

// Repeat says what it means to give a flag several times.
type Repeat uint8

// Set is called for each value, in their order.
const (
	LastCounts Repeat = iota // a script's own flag can come before its caller's
	AllCount                 // the setter adds to a list
	Refused                  // nobody could want one of two to be dropped unseen
)

// A Setter keeps a value, or says what it should have been: its error completes
// the sentence that begins with "want".
type Setter func(text string) error

// New is an option with what all have.
func New(name, value, help, byDefault string, set Setter) Option {
	return Option{Name: name, Value: value, Help: help, Default: byDefault, Set: set}
}

// Sets is o with the fields that it sets.
func (o Option) Sets(fields string) Option {
	o.Fields = fields
	return o
}

// Listed is o of which all values count.
func (o Option) Listed() Option {
	o.Repeat = AllCount
	return o
}

// Once is o that may be given once only.
func (o Option) Once() Option {
	o.Repeat = Refused
	return o
}

// Group is a part of the help.
type Group struct {
	Title   string
	Options []Option
}

// Set is the flags of a command.
type Set struct {
	Command string // as it is typed: "millrace serve"
	Usage   string // what may stand behind it: "[flags] [URL]"; "" is "[flags]"
	About   string // what the command does, in the help before the flags
	Groups  []Group
	Notes   string // ends the help
	// Aliases are other names of flags.
	Aliases map[string]string
	// Operand is the option that an argument without a dash stands for; "": there
	// are flags only.
	Operand string
	// Prefix begins the names of environment variables, as "MILLRACE_"; "": the
	// environment is not asked.
	Prefix string
	// Foreign tells of a variable that begins with Prefix, NAME=VALUE, whether it is
	// meant for somebody else. It may be nil.
	Foreign func(variable string) bool
	// Elsewhere says why a flag is not among the options, as when another command has it;
	// "" if there is nothing to say. It may be nil.
	Elsewhere func(name string) string
	// Check judges the values together, after all setters. It may be nil.
	Check func(Values) error
}

// Value is what an option was set to.
type Value struct {
	Text      string // as it was written; several of a list with commas between
	Source    string // "--max-head", "MILLRACE_MAX_HEAD" or "the default of --max-head"
	ByDefault bool
}

// Values are those of all options, by name.
type Values map[string]Value

// Read sets each option: from the arguments, or else from the environment, given as
// NAME=VALUE, or else to its default. The error is [ErrHelp], or one line that says
// which flag or variable, what was wrong with it and what is allowed; some setters
// have been called then. It is for [Set.Refuse].
func (s *Set) Read(args, environ []string) (Values, error) {
	arguments, err := s.parse(args)
	if err != nil {
		return nil, err
	}
	variables, err := s.variables(environ)
	if err != nil {
		return nil, err
	}
	values := Values{}
	for _, o := range s.options() {
		text, inEnvironment := variables[s.variable(o.Name)]
		switch texts := arguments[o.Name]; {
		case len(texts) > 0:
			values[o.Name], err = o.take("--"+o.Name, texts)
		case inEnvironment:
			values[o.Name], err = o.take(s.variable(o.Name), []string{text})
		default:
			values[o.Name], err = o.byDefault()
		}
		if err != nil {
			return nil, err
		}
	}
	if s.Check != nil {
		return values, s.Check(values)
	}
	return values, nil
}

// take sets what somebody has given.
func (o *Option) take(source string, texts []string) (Value, error) {
	v := Value{Source: source}
	for i, text := range texts {
		if text == "" {
			return v, fmt.Errorf("%s: empty value: leave it out, or give %s", source, o.want())
		}
		if i > 0 && o.Repeat == Refused {
			return v, fmt.Errorf("%s: given twice, as %q and %q: want one", source, v.Text, text)
		}
		if i > 0 && o.Repeat == AllCount {
			v.Text += ","
		} else {
			v.Text = ""
		}
		v.Text += text
		if err := o.Set(text); err != nil {
			return v, Value{Source: source, Text: text}.Invalid(err.Error())
		}
	}
	return v, nil
}

func (o *Option) byDefault() (Value, error) {
	v := Value{Text: o.Default, Source: "the default of --" + o.Name, ByDefault: true}
	if v.Text != "" {
		if err := o.Set(v.Text); err != nil {
			return v, v.Invalid(err.Error())
		}
	}
	return v, nil
}

// Invalid is the error of a value that should have been as want says.
func (v Value) Invalid(want string) error {
	return fmt.Errorf("%s: invalid value %q: want %s", v.Source, v.Text, want)
}

// want is what a value may be, as the setter says it.
func (o *Option) want() string {
	if err := o.Set(""); err != nil {
		return err.Error()
	}
	return o.Value
}

func (s *Set) options() (all []Option) {
	for _, g := range s.Groups {
		all = append(all, g.Options...)
	}
	return all
}

// Named is the option of that name or alias, or nil.
func (s *Set) Named(name string) *Option {
	if other, ok := s.Aliases[name]; ok {
		name = other
	}
	return s.find(func(o Option) bool { return o.Name == name })
}

// Setting is the option that sets a field, or nil.
func (s *Set) Setting(field string) *Option {
	return s.find(func(o Option) bool { return slices.Contains(strings.Fields(o.Fields), field) })
}

func (s *Set) find(is func(Option) bool) *Option {
	for _, o := range s.options() {
		if is(o) {
			return &o
		}
	}
	return nil
}

// names are those of all flags.
func (s *Set) names() (all []string) {
	for _, o := range s.options() {
		all = append(all, o.Name)
	}
	return all
}
