// Command millrace is a ready-to-run WebSocket server on the library.
//
//	millrace serve [flags]
//	millrace doctor [flags]
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/millrace/millrace/cmd/millrace/doctor"
	"github.com/millrace/millrace/cmd/millrace/serve"
)

const usage = `Usage: millrace COMMAND

Commands:
  serve      run the WebSocket server; millrace serve --help lists its flags
  doctor     say how many connections this machine can hold, and what binds first
  help       print this
  --version  print the version
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with an exit status: 0 done, 1 failed, 2 called wrongly.
func run(args []string, stdout, stderr io.Writer) (status int) {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "serve":
		return serve.Main(args[1:], stdout, stderr)
	case "doctor":
		return doctor.Main(args[1:], stdout, stderr)
	case "help", "--help", "-help", "-h":
		fmt.Fprint(stdout, usage)
		return 0
	case "version", "--version", "-version":
		fmt.Fprintf(stdout, "millrace %s (%s %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return 0
	case "":
		fmt.Fprint(stderr, usage)
	default:
		fmt.Fprintf(stderr, "millrace: unknown command %q: use serve, doctor, help or --version\n", command)
	}
	return 2
}

// version is what the Go tool wrote into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
