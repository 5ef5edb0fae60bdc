package flags

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// Program is a program of several commands, besides which it has help and version.
type Program struct {
	Name     string
	Usage    string // what stands behind a command: "[flags] [URL]"
	About    string
	Commands []Command
	Notes    string // ends the overview

	Stdout, Stderr io.Writer
}

// Command is a command of a program.
type Command struct {
	Name, About string
	// Main takes the arguments behind the command, among them --help, and gives the
	// exit status.
	Main func(args []string) (status int)
}

// Main runs the command that the arguments, without the program's own name, begin
// with, and gives the exit status.
func (p *Program) Main(args []string) (status int) {
	if len(args) == 0 {
		p.printOverview(p.Stderr)
		return Misuse
	}
	name, args := args[0], args[1:]
	for _, c := range p.Commands {
		if c.Name == name {
			return c.Main(args)
		}
	}
	switch name {
	case "help", "--help", "-help", "-h":
		return p.help(args)
	case "version", "--version", "-version":
		return p.version(args)
	}
	return p.refuse(p.unknown(name))
}

// help prints the overview, or the help of a command.
func (p *Program) help(args []string) (status int) {
	if len(args) > 1 {
		return p.refuse(fmt.Errorf("help: unexpected argument %q: want one command", args[1]))
	}
	for _, c := range p.Commands {
		if len(args) > 0 && c.Name == args[0] {
			return c.Main([]string{"--help"})
		}
	}
	if len(args) > 0 && args[0] != "help" && args[0] != "version" && !strings.HasPrefix(args[0], "-") {
		return p.refuse(p.unknown(args[0]))
	}
	p.printOverview(p.Stdout)
	return Done
}

func (p *Program) version(args []string) (status int) {
	if len(args) > 0 {
		return p.refuse(fmt.Errorf("version: unexpected argument %q: want none", args[0]))
	}
	info, _ := debug.ReadBuildInfo()
	fmt.Fprintln(p.Stdout, p.Name, VersionOf(info))
	return Done
}

// VersionOf says what a program was built from: the module's version, the commit, and
// the Go version. Without build information they are not known.
func VersionOf(info *debug.BuildInfo) string {
	if info == nil {
		info = &debug.BuildInfo{}
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := cmp.Or(settings["vcs.revision"], "unknown")
	if settings["vcs.modified"] == "true" {
		commit += " (modified)"
	}
	return fmt.Sprintf("%s, commit %s, %s %s/%s",
		cmp.Or(info.Main.Version, "(devel)"), commit, cmp.Or(info.GoVersion, runtime.Version()), runtime.GOOS, runtime.GOARCH)
}

// CommandLine gives the words of a command as a line that sh reads as the same words.
func CommandLine(words ...string) string {
	var quoted []string
	for _, w := range words {
		if strings.ContainsAny(w, " \t\n'\"$&|;<>()*?[]#~`\\!{}") || w == "" {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted = append(quoted, w)
	}
	return strings.Join(quoted, " ")
}

// unknown says that there is no such command, and which ones there are.
func (p *Program) unknown(name string) error {
	names := []string{}
	for _, c := range p.Commands {
		names = append(names, c.Name)
	}
	names = append(names, "help", "version")
	meant := Nearest(strings.ToLower(strings.TrimLeft(name, "-")), names)
	switch {
	case meant != "":
		return fmt.Errorf("unknown command %q: did you mean %s?", name, meant)
	case strings.HasPrefix(name, "-"):
		return fmt.Errorf("%s stands before the command: want one of %s first", name, strings.Join(names, ", "))
	}
	return fmt.Errorf("unknown command %q: want one of %s", name, strings.Join(names, ", "))
}

func (p *Program) refuse(err error) (status int) {
	complain(p.Stderr, p.Name, err, fmt.Sprintf("Run '%s help' for the commands.", p.Name))
	return Misuse
}

// printOverview writes what the program does and its commands.
func (p *Program) printOverview(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s COMMAND %s\n\n%s\n\nCommands:\n", p.Name, cmp.Or(p.Usage, "[flags]"), strings.TrimSpace(p.About))
	own := []Command{
		{Name: "help", About: fmt.Sprintf("print this; %s help COMMAND lists a command's flags", p.Name)},
		{Name: "version", About: "print the version, the commit and the Go version it was built with"},
	}
	for i, c := range append(append([]Command{}, p.Commands...), own...) {
		if i == len(p.Commands) {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "  %-9s  %s\n", c.Name, c.About)
	}
	if p.Notes != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(p.Notes))
	}
	_, _ = io.WriteString(w, b.String()) // there is nobody else to tell
}
