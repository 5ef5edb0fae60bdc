package report_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

// FuzzPage shows a result from a file that somebody has changed, with so many times of
// one length besides, since changed text hardly ever is a histogram. Whatever it says,
// there is a page, on which nothing runs, and a summary without escape sequences.
func FuzzPage(f *testing.F) {
	for i, scenario := range []string{result.Sweep, result.Broadcast, result.Churn} {
		r := sample(scenario)
		r.Samples, r.Steps = r.Samples[:3], r.Steps[:min(len(r.Steps), 2)]
		for _, l := range []**result.Latency{&r.Latency, &r.Service, &r.Connect, &r.Last, &r.Skew, &r.Client.Late} {
			*l = nil // they come with the numbers
		}
		for i := range r.Steps {
			r.Steps[i].Latency = nil
		}
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, int64(i)*1e6, int64(1)<<(20*i), uint8(7*i))
	}
	f.Add([]byte(`{"unit":"\u001b","samples":[{"at":0,"seconds":1e-300,"server_cores":5e-324,"heat":{"0":1}},{"at":1,"seconds":1e300}]}`),
		int64(-1), int64(1)<<51, uint8(255))
	f.Fuzz(func(t *testing.T, text []byte, time, count int64, which uint8) {
		var r result.Result
		if json.Unmarshal(text, &r) != nil {
			return
		}
		l := result.NewLatency()
		if count > 0 && count <= 1<<51 && l.Histogram.RecordValues(time, count) == nil {
			for i, to := range []**result.Latency{&r.Latency, &r.Service, &r.Connect, &r.Last, &r.Skew, &r.Client.Late} {
				if which>>i&1 > 0 {
					*to = l
				}
			}
			for i := range r.Steps {
				r.Steps[i].Latency = l
			}
		}
		var page, summary strings.Builder
		if err := report.HTML(&page, &r); err != nil {
			t.Fatal(err)
		}
		for _, svg := range pictures(page.String()) {
			checkSVG(t, svg)
		}
		for _, bad := range []string{"<script", "<img", "<link"} {
			if strings.Contains(strings.ToLower(page.String()), bad) {
				t.Errorf("the page has %q", bad)
			}
		}
		if err := report.Summary(&summary, &r); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(summary.String(), func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); i >= 0 {
			t.Errorf("an unprintable character at %d of %q", i, summary.String())
		}
	})
}
