// Command millrace is a ready-to-run WebSocket server on the library.
//
//	millrace serve [flags]
//	millrace doctor [flags]
//
// millrace help, and millrace help COMMAND, say more.
package main

import (
	"io"
	"os"

	"github.com/millrace/millrace/cmd/millrace/doctor"
	"github.com/millrace/millrace/cmd/millrace/serve"
	"github.com/millrace/millrace/internal/flags"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with an exit status: 0 done, 1 failed, 2 called wrongly.
func run(args []string, stdout, stderr io.Writer) (status int) {
	p := flags.Program{
		Name: "millrace", About: "A WebSocket server that is ready to run.", Notes: example,
		Commands: []flags.Command{
			{
				Name: "serve", About: "run the WebSocket server",
				Main: func(args []string) int { return serve.Main(args, stdout, stderr) },
			},
			{
				Name: "doctor", About: "say how many connections this machine can hold, and what binds first",
				Main: func(args []string) int { return doctor.Main(args, stdout, stderr) },
			},
		},
		Stdout: stdout, Stderr: stderr,
	}
	return p.Main(args)
}

const example = `Example:
  millrace serve --listen :8080 --origin https://example.com

Exit status:
  0  all went well
  1  something went wrong
  2  a wrong command or wrong flags: nothing was done
`
