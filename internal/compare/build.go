package compare

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// buildLimit is the longest that one server may take to build, its downloads
// included.
const buildLimit = 5 * time.Minute

// python is the interpreter that the Debian package python3-tornado belongs to;
// another one in PATH would not find it.
const python = "/usr/bin/python3"

// builder makes known servers from a checkout.
type builder struct {
	ctx  context.Context
	root string // of the checkout
	out  string // folder for what is built
}

// built is a server that is ready to start.
type built struct {
	command []string
	version string
}

// findRoot gives the checkout's root: the folder, dir or above, whose go.mod is
// millrace's.
func findRoot(dir string) (string, error) {
	ours := regexp.MustCompile(`(?m)^module ` + regexp.QuoteMeta(modulePath) + `$`)
	for folder := dir; ; folder = filepath.Dir(folder) {
		if text, err := os.ReadFile(filepath.Join(folder, "go.mod")); err == nil && ours.Match(text) {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("%s %w", dir, errNotCheckout)
		}
	}
}

func millrace(b *builder) (built, error) { return b.echo(ours) }

// stalled is ours with a handler that now and then sleeps for long.
func stalled(b *builder) (built, error) {
	made, err := b.echo(napping)
	made.command = append(made.command, "--stall-every", "20000", "--stall", "50ms")
	return made, err
}

// echo builds our echo server.
func (b *builder) echo(name string) (built, error) {
	made, err := b.goProgram(name, ".", "./bench/echo", modulePath)
	if commit, gitErr := b.run(".", "git", "describe", "--always", "--dirty"); gitErr == nil {
		made.version = "commit " + firstLine(commit) // a checkout that was not cloned has none
	}
	return made, err
}

// rival is a server of bench/peers; its version is that of the modules.
func rival(name, can string, modules ...string) server {
	return server{name: name, can: words(can), make: func(b *builder) (built, error) {
		return b.goProgram(name, "bench/peers", "./"+name, modules...)
	}}
}

func (b *builder) goProgram(name, folder, pkg string, modules ...string) (built, error) {
	program := filepath.Join(b.out, name)
	if _, err := b.run(folder, "go", "build", "-o", program, pkg); err != nil {
		return built{}, err
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return built{}, err
	}
	return built{[]string{program, "--listen", "LISTEN"}, versions(info, modules)}, nil
}

// versions tells which of the modules a program was built from.
func versions(info *debug.BuildInfo, modules []string) string {
	var found []string
	for _, m := range append(info.Deps, &info.Main) {
		if slices.Contains(modules, m.Path) {
			found = append(found, m.Path+" "+m.Version)
		}
	}
	return strings.Join(found, ", ")
}

func floor(b *builder) (built, error) {
	program := filepath.Join(b.out, "floor")
	if _, err := b.run(".", "cc", "-O3", "-march=native", "-o", program, "bench/peers/floor/floor.c", "-lpthread"); err != nil {
		return built{}, err
	}
	version, err := b.run(".", "cc", "--version")
	return built{[]string{program, "--listen", "LISTEN"}, firstLine(version)}, err
}

func tornado(b *builder) (built, error) {
	const ask = `import sys, tornado; print("tornado", tornado.version + ", Python", sys.version.split()[0])`
	version, err := b.run(".", python, "-c", ask)
	if err != nil {
		return built{}, fmt.Errorf("%w (apt-get install python3-tornado)", err)
	}
	script := filepath.Join(b.root, "bench", "peers", "tornado", "echo.py")
	return built{[]string{python, script, "--listen", "LISTEN"}, firstLine(version)}, nil
}

func nodeWS(b *builder) (built, error) {
	const folder = "bench/peers/node-ws"
	version, err := b.run(folder, "node", "-p", `"ws " + require("ws/package.json").version + ", Node " + process.version`)
	if err != nil {
		return built{}, fmt.Errorf("%w (npm ci in %s)", err, folder)
	}
	script := filepath.Join(b.root, filepath.FromSlash(folder), "echo.js")
	return built{[]string{"node", script, "--listen", "LISTEN"}, firstLine(version)}, nil
}

// run runs a tool in a folder of the checkout. Its error is one line.
func (b *builder) run(folder string, argv ...string) (stdout string, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, buildLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = filepath.Join(b.root, filepath.FromSlash(folder))
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if why := complaint(errs.String()); why != "" {
			err = errors.New(why)
		}
		return "", fmt.Errorf("%s: %w", filepath.Base(argv[0]), err)
	}
	return out.String(), nil
}

// complaint gives the line of a tool's error output that says most: the first
// one that names an error, or else the last.
func complaint(stderr string) string {
	last := ""
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "rror:") || strings.Contains(line, ".go:") {
			return line
		}
		if line != "" && !strings.HasPrefix(line, "#") {
			last = line
		}
	}
	return last
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
