package flags

import (
	"fmt"
	"slices"
	"strings"
)

// parse gives the values of each flag in args, by its name. What flags look like is
// what package flag takes: one dash or two, a value behind = or in the next argument,
// and -- before arguments that are no flags.
func (s *Set) parse(args []string) (given map[string][]string, err error) {
	given = map[string][]string{}
	flagsOver := false
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--" && !flagsOver:
			flagsOver = true
		case flagsOver || len(arg) < 2 || arg[0] != '-':
			if err := s.operand(arg, given); err != nil {
				return nil, err
			}
			given[s.Operand] = append(given[s.Operand], arg)
		default:
			name, text, used, err := s.flag(arg, args)
			if err != nil {
				return nil, err
			}
			given[name], args = append(given[name], text), args[used:]
		}
	}
	return given, nil
}

// operand tells whether an argument that is no flag may stand where it does.
func (s *Set) operand(arg string, before map[string][]string) error {
	if s.Operand == "" {
		return fmt.Errorf("unexpected argument %q: want flags only", arg)
	}
	if other := before[s.Operand]; len(other) > 0 {
		return fmt.Errorf("unexpected argument %q: --%s is %q already", arg, s.Operand, other[0])
	}
	return nil
}

// flag reads one flag, and says how many of the arguments behind it belong to it.
func (s *Set) flag(arg string, behind []string) (name, text string, used int, err error) {
	name, text, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
	o := s.Named(name)
	switch {
	case o == nil && (name == "help" || name == "h"):
		return "", "", 0, ErrHelp
	case name == "" || name[0] == '-':
		return "", "", 0, fmt.Errorf("bad flag syntax: %s: want --NAME, --NAME VALUE or --NAME=VALUE", arg)
	case o == nil:
		return "", "", 0, s.unknown(name)
	case hasValue:
	case o.Value == "":
		text = "true"
	case o.Alone != "" && (len(behind) == 0 || strings.HasPrefix(behind[0], "-")):
		text = o.Alone
	case len(behind) == 0:
		return "", "", 0, fmt.Errorf("--%s: value missing: want %s", o.Name, o.want())
	case s.isFlag(behind[0]):
		return "", "", 0, fmt.Errorf("--%s: value missing before %s: want %s", o.Name, behind[0], o.want())
	default:
		text, used = behind[0], 1
	}
	return o.Name, text, used, nil
}

// isFlag tells whether an argument is one of the flags: it is hardly meant as the value
// of another one. With = it can be.
func (s *Set) isFlag(arg string) bool {
	name, ok := strings.CutPrefix(arg, "--")
	name, _, _ = strings.Cut(name, "=")
	return ok && s.Named(name) != nil
}

// unknown says that there is no such flag, and which one may be meant.
func (s *Set) unknown(name string) error {
	if why := s.elsewhere(name); why != "" {
		return fmt.Errorf("--%s: %s", name, why)
	}
	if program, _, ok := strings.Cut(s.Command, " "); ok && name == "version" {
		return fmt.Errorf("unknown flag --version: want '%s version'", program)
	}
	if meant := Nearest(strings.ToLower(name), append(s.names(), "help")); meant != "" {
		return fmt.Errorf("unknown flag --%s: did you mean --%s?", name, meant)
	}
	return fmt.Errorf("unknown flag --%s", name)
}

// elsewhere is Elsewhere, if there is one.
func (s *Set) elsewhere(name string) string {
	if s.Elsewhere == nil {
		return ""
	}
	return s.Elsewhere(name)
}

// variable is the environment variable of a flag.
func (s *Set) variable(name string) string {
	return s.Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// variables are those with the prefix in an environment, by name. One that sets
// nothing is an error, unless it is for somebody else: whoever wrote it meant something.
func (s *Set) variables(environ []string) (map[string]string, error) {
	if s.Prefix == "" {
		return nil, nil
	}
	values := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, s.Prefix)
		switch {
		case !ours:
		case slices.ContainsFunc(s.names(), func(flag string) bool { return s.variable(flag) == name }):
			values[name] = value
		case s.Foreign == nil || !s.Foreign(entry):
			flag := strings.ReplaceAll(strings.ToLower(rest), "_", "-")
			if why := s.elsewhere(flag); why != "" {
				return nil, fmt.Errorf("%s: %s", name, why)
			}
			if meant := Nearest(flag, s.names()); meant != "" {
				return nil, fmt.Errorf("unknown variable %s: did you mean %s?", name, s.variable(meant))
			}
			return nil, fmt.Errorf("unknown variable %s", name)
		}
	}
	return values, nil
}
