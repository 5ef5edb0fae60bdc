// Package wsload builds wsload, a second load generator, and reads what it prints.
//
//	program, err := wsload.Build(ctx, dir)
//	printed, err := exec.CommandContext(ctx, program, "-m", "echo", "-c", "100").Output()
//	figures, err := wsload.Parse(printed)
//
// wsload is written in C and shares no code with millbench, so that each can be checked
// against the other. Its flags are described at the top of c/wsload.c.
package wsload

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed c/wsload.c
var source []byte

// Build compiles wsload into the folder dir and returns the program's path. It needs
// Linux and a C compiler named cc, and blocks for about a second. It stops when the
// context ends.
func Build(ctx context.Context, dir string) (program string, err error) {
	file := filepath.Join(dir, "wsload.c")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return "", fmt.Errorf("wsload: %w", err)
	}
	program = filepath.Join(dir, "wsload")
	out, err := exec.CommandContext(ctx, "cc", "-O2", "-w", "-o", program, file, "-lm").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("wsload: cc: %w %s", err, strings.TrimSpace(string(out)))
	}
	return program, nil
}

// Figures are what wsload prints of one run.
type Figures struct {
	Opened int `json:"opened"` // connections, over the whole run
	Failed int `json:"failed"` // connections that did not open
	Closed int `json:"closed"` // open connections that ended before their time

	PerSecond float64 `json:"msgs_s"`  // messages; in churn, connections
	P50       float64 `json:"p50_us"`  // of a message's way there and back, as the others
	P99       float64 `json:"p99_us"`  // 0 where no message was sent: in idle and churn
	P999      float64 `json:"p999_us"` // its histogram is exact to 1.6 %
	Max       float64 `json:"max_us"`

	// What follows is known where the server's process is: see its flag -P.
	CPU    float64 `json:"server_cpu_us_msg"` // microseconds a message; in churn, a connection
	Cores  float64 `json:"server_cpu"`        // that the server kept busy
	Memory float64 `json:"rss_per_conn"`      // bytes that the server grew by for each connection
}

// Parse reads what wsload printed. It is an error if connections failed or were lost,
// since the figures then are those of fewer connections than were asked for.
func Parse(printed []byte) (Figures, error) {
	var f Figures
	if err := json.Unmarshal(printed, &f); err != nil {
		return Figures{}, fmt.Errorf("wsload: it printed %.200q: %w", printed, err)
	}
	switch {
	case f.Failed+f.Closed > 0:
		return Figures{}, fmt.Errorf("wsload: %d connections opened, %d failed, %d were lost", f.Opened, f.Failed, f.Closed)
	case f.Opened == 0:
		return Figures{}, errors.New("wsload: no connection opened")
	}
	return f, nil
}
