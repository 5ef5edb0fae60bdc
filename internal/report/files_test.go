package report_test

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

func TestJSONRoundTrip(t *testing.T) {
	for _, scenario := range scenarios {
		r := sample(scenario)
		r.Troubles = []result.Trouble{{What: "</script> \"x\"", Count: 2}}
		var text bytes.Buffer
		if err := report.WriteJSON(&text, r); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(text.Bytes(), []byte("}\n")) {
			t.Errorf("%s: no line end", scenario)
		}
		back, err := report.ReadJSON(&text)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(back.Figures()), fmt.Sprint(r.Figures()); got != want { // a NaN is unlike itself
			t.Errorf("%s: %v, want %v", scenario, got, want)
		}
		if !reflect.DeepEqual(back.Samples, r.Samples) || !reflect.DeepEqual(back.Plan, r.Plan) || len(back.Steps) != len(r.Steps) {
			t.Errorf("%s: got %+v, want %+v", scenario, back, r)
		}
		if got, want := summary(t, back), summary(t, r); got != want {
			t.Errorf("%s: got:\n%s\nwant:\n%s", scenario, got, want)
		}
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for _, text := range []string{"", "{", "null", "[]", `"x"`, `{"results": []}`, `{"plan":{"scenario":"echo"},"latency":{"hdr":"AAAA"}}`} {
		if r, err := report.ReadJSON(strings.NewReader(text)); err == nil {
			t.Errorf("%q: read as %+v", text, r)
		} else if !strings.HasPrefix(err.Error(), "report: not a result: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// percentiles reads a .hgrm file as HdrHistogram's own plotter does: lines that begin
// with "#" or have not four words between spaces are passed over.
func percentiles(t *testing.T, text string) (rows [][3]float64) {
	t.Helper()
	for line := range strings.Lines(text) {
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\n' })
		if line[0] == '#' || len(words) != 4 {
			continue
		}
		var row [3]float64
		for i := range row {
			var err error
			if row[i], err = strconv.ParseFloat(words[i], 64); err != nil {
				t.Fatal(err)
			}
		}
		if last, err := strconv.ParseFloat(words[3], 64); err != nil || math.IsNaN(last) {
			t.Errorf("%q is not 1/(1-percentile)", words[3])
		}
		rows = append(rows, row)
	}
	return rows
}

func TestWriteHistogram(t *testing.T) {
	l := latency(50_000, 300*time.Microsecond)
	var b strings.Builder
	if err := report.WriteHistogram(&b, l); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), "# Values are in microseconds.\n") {
		t.Errorf("no unit: %.80q", b.String())
	}
	rows := percentiles(t, b.String())
	if len(rows) < 50 {
		t.Fatalf("%d lines:\n%s", len(rows), b.String())
	}
	for i, row := range rows {
		value, share, count := row[0], row[1], row[2]
		if i > 0 && (value < rows[i-1][0] || share <= rows[i-1][1] && share < 1 || count < rows[i-1][2]) {
			t.Errorf("line %d goes back: %v after %v", i, row, rows[i-1])
		}
		if want := l.Quantile(count / float64(l.Count())); math.Abs(value-want) > 0.001 {
			t.Errorf("%v times within %v us, want %v", count, value, want)
		}
	}
	if last := rows[len(rows)-1]; last[1] != 1 || last[2] != float64(l.Count()) {
		t.Errorf("ends with %v, want all of %d", last, l.Count())
	}
}

func TestWriteHistogramOfNothing(t *testing.T) {
	for _, l := range []*result.Latency{nil, result.NewLatency()} {
		var b strings.Builder
		if err := report.WriteHistogram(&b, l); err != nil {
			t.Fatal(err)
		}
		if rows := percentiles(t, b.String()); len(rows) != 1 || rows[0] != [3]float64{0, 1, 0} {
			t.Errorf("got %v from\n%s", rows, b.String())
		}
	}
}
