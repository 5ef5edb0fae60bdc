package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

func TestConditions(t *testing.T) {
	r := sample(result.Rate)
	r.Latency = result.NewLatency()
	r.Latency.Record(7200 * time.Microsecond)
	r.Service = result.NewLatency()
	r.Service.Record(304 * time.Microsecond)
	r.Failed = 3
	value := r.Latency.Quantile(0.99) // near 7,200 us
	if value < 7190 || value > 7210 {
		t.Fatalf("p99 is %v us", value)
	}
	tests := []struct {
		text   string
		holds  bool
		actual string
	}{
		{"p99>5ms", true, "7.2 ms"},
		{"p99 > 5000 us", true, "7.2 ms"},
		{" p99>=5000µs ", true, "7.2 ms"},
		{"p99>8ms", false, "7.2 ms"},
		{"p99<8000000ns", true, "7.2 ms"},
		{"p99.99<=0.1s", true, "7.2 ms"},
		{"max<1e-3s", false, "7.2 ms"},
		{"p99>5MS", true, "7.2 ms"},
		{"p99>5000US", true, "7.2 ms"},
		{"p99<1S", true, "7.2 ms"},
		{"service-p50>1s", false, "304 us"},
		{"rss>200B", false, "187 B"},
		{"rss<0.2KB", true, "187 B"},
		{"rss>0.1KiB", true, "187 B"},
		{"rss<0.185KB", true, "187 B"}, // 189 bytes
		{"rss<1KIB", true, "187 B"},
		{"rss<1k", true, "187 B"},
		{"rss<1gib", true, "187 B"},
		{"rss<1MB", true, "187 B"},
		{"rss<1MiB", true, "187 B"},
		{"rate<100000", false, "102,469 /s"},
		{"rate<1.5e5", true, "102,469 /s"},
		{"failed>0", true, "3"},
		{"failed>3", false, "3"},
		{"failed>=3", true, "3"},
		{"failed<3", false, "3"},
		{"failed<=3", true, "3"},
		{"lost>-1", true, "0"},
		{"server-cores>0.4", true, "0.44 cores"},
		{"cpu>4us", true, "4.31 us"},
	}
	for _, test := range tests {
		c, err := report.ParseCondition(test.text)
		if err != nil {
			t.Error(err)
			continue
		}
		if holds, actual, err := c.Holds(r); err != nil || holds != test.holds || actual != test.actual {
			t.Errorf("%q: %v, %q, %v, want %v, %q", test.text, holds, actual, err, test.holds, test.actual)
		}
		if c.String() != strings.TrimSpace(test.text) {
			t.Errorf("%q is written as %q", test.text, c)
		}
	}
}

func TestWrongConditions(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "no > >= < or <="},
		{"p99", "no > >= < or <="},
		{"p99=5ms", "no > >= < or <="},
		{"p99>", `"" is not a number`},
		{"p99>ms", "is not a number"},
		{"p99>>5ms", "is not a number"},
		{"p99>NaNms", "is not a number"},
		{"p99>1e999ms", "is not a number"},
		{"rate>Inf", "is not a number"},
		{"rate>NaN", "is not a number"},
		{"rate>50,000", "is not a number"},
		{"p99>5", "p99 needs one of the units ns, us, ms or s"},
		{"p99>5m", "p99 needs one of the units ns, us, ms or s"},
		{"p99>5MiB", "p99 needs one of the units"},
		{"rss>200", "rss needs one of the units B, KiB, MiB or GiB"},
		{"rss>200TiB", "rss needs one of the units"},
		{"failed>3us", `failed has no unit, leave "us" away`},
		{">5ms", `no figure ""`},
		{"p98>5ms", `no figure "p98"; there are rate, knee, mean, p50, p90, p95, p99, p99.9, p99.99, max, service-mean`},
		{"P99>5ms", `no figure "P99"`},
	}
	for _, test := range tests {
		c, err := report.ParseCondition(test.text)
		if err == nil {
			t.Errorf("%q: read as %v", test.text, c)
		} else if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "report: condition ") {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

// TestUnknownFigures holds that a condition which can not be checked never passes.
func TestUnknownFigures(t *testing.T) {
	empty := &result.Result{Plan: result.Plan{Scenario: result.Echo}}
	for _, text := range []string{"p99>5ms", "service-p50<1s", "connect-max>1s", "cpu>4us", "rss>200B", "server-cores>1"} {
		c, err := report.ParseCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		if holds, actual, err := c.Holds(empty); err == nil || !strings.Contains(err.Error(), "did not measure") {
			t.Errorf("%s: %v, %q, %v", text, holds, actual, err)
		}
	}
	if _, _, err := (report.Condition{}).Holds(sample(result.Echo)); err == nil {
		t.Error("the zero condition can be checked")
	}
}
