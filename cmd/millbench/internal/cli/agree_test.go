package cli_test

import (
	"encoding/json"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/bench"
	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

// shown are the quantiles that all ways to show a result have.
var shown = []struct {
	share float64
	json  string
}{{0.5, "p50_us"}, {0.9, "p90_us"}, {0.99, "p99_us"}, {0.999, "p999_us"}, {0.9999, "p9999_us"}, {1, "max_us"}}

// TestAllShowTheSame: what was measured stands in the JSON, the summary, the .hgrm
// file and the page with the same figures, as far as each has digits.
func TestAllShowTheSame(t *testing.T) {
	url := "ws://" + serve(t) + "/"
	for _, tt := range []struct{ args, row string }{
		{"echo --duration 300ms", "round trip"},
		{"rate --rate 2000 --duration 300ms", "from due time"},
		{"sweep --rate 200 --sweep-factor 2 --sweep-max 800 --duration 300ms", "from due time"},
	} {
		scenario, _, _ := strings.Cut(tt.args, " ")
		t.Run(scenario, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "r")
			s := newStage()
			s.app.Run = bench.RunWatched
			s.expect(t, 0, append(strings.Fields(tt.args), "-c", "5", "--warmup", "off", url,
				"--json", file+".json", "--hgrm", file+".hgrm", "--report", file+".html"), "")
			text, page := s.stdout.String(), pageText(read(t, file+".html"))
			r := fromJSON(t, read(t, file+".json"))
			wantTable(t, r.Latency, read(t, file+".hgrm"))
			for i, q := range shown {
				want := r.Latency.Quantile(q.share)
				near(t, "the summary's "+q.json, rowOf(t, text, tt.row)[i], want, 0.006) // three digits
				near(t, "the page's "+q.json, rowOf(t, page, tt.row)[i], want, 0.006)
			}
			if r.Knee != nil {
				if low := report.Format(r.Knee.Low, "1/s"); !strings.Contains(text, low) || !strings.Contains(page, low) {
					t.Errorf("the knee from %s is not in the summary and the page", low)
				}
			}
		})
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance*want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// fromJSON reads a result back, and holds the figures that stand there to be read
// against its histogram.
func fromJSON(t *testing.T, text string) *result.Result {
	t.Helper()
	r, err := report.ReadJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var plain struct {
		Latency map[string]any `json:"latency"`
	}
	if err := json.Unmarshal([]byte(text), &plain); err != nil {
		t.Fatal(err)
	}
	for _, q := range shown {
		if got, want := plain.Latency[q.json], r.Latency.Quantile(q.share); got != want {
			t.Errorf("JSON's %s is %v, want %v", q.json, got, want)
		}
	}
	return r
}

// wantTable reads a .hgrm file back: lines of a value, the share of all times up to
// it, and two counts; then the maximum and the count of all. Its shares are its own,
// so each line is held against the times next to it.
func wantTable(t *testing.T, l *result.Latency, table string) {
	t.Helper()
	one, lines := 1/float64(l.Count()), 0
	for text := range strings.Lines(table) {
		var value, share float64
		if n, _ := fmt.Sscan(text, &value, &share); n < 2 {
			continue
		}
		lines++
		least, most := l.Quantile(max(share-one, 0)), l.Quantile(min(share+one, 1))
		if value < 0.999*least || value > 1.001*most {
			t.Errorf("the table's line %q, want from %v to %v us", strings.TrimSpace(text), least, most)
		}
	}
	if lines < 10 {
		t.Errorf("%d lines in\n%s", lines, table)
	}
	var most, count float64
	_, end, _ := strings.Cut(table, "#[Max")
	if _, err := fmt.Sscanf(end, " = %f, Total count = %f]", &most, &count); err != nil {
		t.Errorf("%v in\n%s", err, end)
	}
	near(t, "the table's maximum", most, l.Quantile(1), 0.001)
	near(t, "the table's count", count, float64(l.Count()), 0)
}

var (
	tag    = regexp.MustCompile(`(?s)<[^>]*>`)
	figure = regexp.MustCompile(`([0-9.,]+) (ns|us|µs|ms|s)\b`)
)

// pageText is a page's text, a row of a table on a line.
func pageText(page string) string {
	rows := regexp.MustCompile(`\s+`).ReplaceAllString(page, " ")
	rows = strings.ReplaceAll(rows, "<tr", "\n<tr")
	return html.UnescapeString(tag.ReplaceAllString(rows, " "))
}

// rowOf gives the times, in microseconds, on the line that begins with a name and
// has one for each quantile.
func rowOf(t *testing.T, text, name string) (us []float64) {
	t.Helper()
	scale := map[string]float64{"ns": 1e-3, "us": 1, "µs": 1, "ms": 1e3, "s": 1e6}
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(strings.TrimSpace(line), name+" ")
		times := figure.FindAllStringSubmatch(rest, -1)
		if !found || len(times) < len(shown) {
			continue
		}
		for _, m := range times {
			value, err := strconv.ParseFloat(strings.ReplaceAll(m[1], ",", ""), 64)
			if err != nil {
				t.Fatal(err)
			}
			us = append(us, value*scale[m[2]])
		}
		return us
	}
	t.Fatalf("no row %q in\n%s", name, text)
	return nil
}
