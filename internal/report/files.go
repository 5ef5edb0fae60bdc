package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/millrace/millrace/bench/result"
)

// WriteJSON writes a result as indented JSON with a line end. ReadJSON reads it back.
func WriteJSON(w io.Writer, r *result.Result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// ReadJSON reads one result that WriteJSON wrote. Fields it does not know are passed
// over, and what is lacking is zero: an older or newer version may have written it.
func ReadJSON(from io.Reader) (*result.Result, error) {
	r := new(result.Result)
	if err := json.NewDecoder(from).Decode(r); err != nil {
		return nil, fmt.Errorf("report: not a result: %w", err)
	}
	if r.Plan.Scenario == "" {
		return nil, errors.New("report: not a result: it has no scenario")
	}
	return r, nil
}

// ticksPerHalf is how many lines a .hgrm file has for each halving of the distance
// to 100 %; 5 is what HdrHistogram's own tools write.
const ticksPerHalf = 5

// WriteHistogram writes a distribution as HdrHistogram's percentile table (.hgrm), in
// microseconds. A nil or empty distribution gives a table of one line, for no
// times.
func WriteHistogram(w io.Writer, l *result.Latency) error {
	if l.Count() == 0 {
		l = result.NewLatency()
	}
	if _, err := io.WriteString(w, "# Values are in microseconds.\n"); err != nil {
		return err
	}
	_, err := l.Histogram.PercentilesPrint(w, ticksPerHalf, 1e3)
	return err
}
