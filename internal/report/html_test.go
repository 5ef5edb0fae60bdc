package report_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

func page(t *testing.T, results ...*result.Result) string {
	t.Helper()
	var b strings.Builder
	if err := report.HTML(&b, results...); err != nil {
		t.Fatal(err)
	}
	checkPage(t, b.String())
	return b.String()
}

// loads gives what in a text would run or be fetched; "" if nothing would.
func loads(text string) string {
	text = strings.ReplaceAll(strings.ToLower(text), `href="#`, "") // a place in the page itself
	for _, bad := range []string{"<script", "<link", "<img", "<iframe", "href=", "src=", "onload", "onerror", "url(", "@import"} {
		if strings.Contains(text, bad) {
			return bad
		}
	}
	return ""
}

var picture = regexp.MustCompile(`(?s)<svg class="chart[a-z ]*" role="img".*?</svg>`)

// pictures gives the charts of a page, each for a broad screen and for a phone.
func pictures(text string) []string { return picture.FindAllString(text, -1) }

// checkPage holds that a page needs nothing but itself, and that its pictures are
// sound.
func checkPage(t *testing.T, text string) {
	t.Helper()
	if bad := loads(text); bad != "" {
		t.Errorf("the page has %q", bad)
	}
	for _, bad := range []string{"NaN", "Inf", "%!", "ZgotmplZ", "{{", "<no value>"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, svg := range pictures(text) {
		checkSVG(t, svg)
	}
}

// beyond is a place in a path that no picture has, as what is not a number becomes.
var beyond = regexp.MustCompile(`[ML] (-?[0-9]+ )?-?[0-9]{9,}`)

type label struct {
	X     int    `xml:"x,attr"`
	Y     int    `xml:"y,attr"`
	Class string `xml:"class,attr"`
	Text  string `xml:",chardata"`
}

// checkSVG parses a picture strictly and looks where its labels are.
func checkSVG(t *testing.T, svg string) (labels []label) {
	t.Helper()
	var picture struct {
		ViewBox string  `xml:"viewBox,attr"`
		About   string  `xml:"aria-label,attr"`
		Texts   []label `xml:"text"`
	}
	decoder := xml.NewDecoder(strings.NewReader(svg))
	if err := decoder.Decode(&picture); err != nil {
		t.Fatalf("%v in %s", err, svg)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Errorf("something follows %.100s", svg)
	}
	var width, height int
	if _, err := fmt.Sscanf(picture.ViewBox, "0 0 %d %d", &width, &height); err != nil {
		t.Errorf("view box %q: %v", picture.ViewBox, err)
	}
	ends := map[string]int{} // of the last label on the x axis
	for _, l := range picture.Texts {
		end := l.X + 12*len([]rune(l.Text))      // a mean character is somewhat wider
		if strings.Contains(l.Class, "axis y") { // these end there
			l.X, end = 2*l.X-end, l.X
		}
		if l.X < 0 || end > width || l.Y < 20 || l.Y > height {
			t.Errorf("%s: %q at %d, %d leaves the picture of %d x %d", picture.About, l.Text, l.X, l.Y, width, height)
		}
		if strings.Contains(l.Class, "axis x") {
			if l.X < ends[l.Class]+8 {
				t.Errorf("%s: %q at %d meets the label before it", picture.About, l.Text, l.X)
			}
			ends[l.Class] = end
		}
	}
	for _, axis := range []string{"axis x", "axis y"} {
		if !slices.ContainsFunc(picture.Texts, func(l label) bool { return strings.Contains(l.Class, axis) }) {
			t.Errorf("%s: no labels on %s", picture.About, axis)
		}
	}
	if far := beyond.FindString(svg); far != "" {
		t.Errorf("%s: a path goes to %s", picture.About, far)
	}
	return picture.Texts
}

func TestHTMLOfScenarios(t *testing.T) {
	for _, scenario := range scenarios {
		r := sample(scenario)
		text := page(t, r)
		for _, want := range []string{
			"<h1>" + scenario + " ", "ws://127.0.0.1:8080/echo", "Sat, 14 Mar 2026 15:09:26 UTC", "Intel(R) Xeon(R)", "2 cores",
			"millrace (pid 4242)", "<td>90 ms</td>", "Latency by percentile", "99.9%", "Connections open", "Server memory",
			"Server cores busy", ">warm-up</text>", "The charts over time as a table", "&#34;scenario&#34;: &#34;" + scenario, "<th scope=\"row\">p99.99</th>",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: lacks %q", scenario, want)
			}
		}
		if n := len(pictures(text)); n < 2*5 {
			t.Errorf("%s: %d charts", scenario, n)
		}
		for want, only := range map[string]bool{
			"Throughput by offered rate":  scenario == result.Sweep,
			"Latency by offered rate":     scenario == result.Sweep,
			"s a second</b>":              scenario != result.Idle,
			"Deliveries a second</b>":     scenario == result.Broadcast,
			"<th scope=\"col\">step</th>": r.Steps != nil,
			"The run failed":              false,
			"<nav":                        false,
		} {
			if strings.Contains(text, want) != only {
				t.Errorf("%s: %q is there: %v", scenario, want, !only)
			}
		}
	}
}

func TestHTMLOfSeveral(t *testing.T) {
	a, b := sample(result.Echo), sample(result.Idle)
	b.Server = nil
	text := page(t, a, b)
	for _, want := range []string{"<nav", `<a href="#run-1">echo</a>`, `<a href="#run-2">idle</a>`, `<section id="run-1">`, `<section id="run-2">`} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%d times %q", strings.Count(text, want), want)
		}
	}
	if err := report.HTML(io.Discard); err == nil {
		t.Error("a page of no result")
	}
}

// TestHTMLOfNothing shows results that lack what others have.
func TestHTMLOfNothing(t *testing.T) {
	for _, scenario := range append(scenarios, "") {
		page(t, &result.Result{Plan: result.Plan{Scenario: scenario}})
		bare := sample(scenario)
		bare.Latency, bare.Service, bare.Connect, bare.Server, bare.Client = nil, nil, nil, nil, result.ClientUse{}
		for i := range bare.Samples {
			bare.Samples[i] = result.Sample{At: float64(i), Seconds: 1, Connections: 5}
		}
		for i := range bare.Steps {
			bare.Steps[i].Latency, bare.Steps[i].PerSecond = nil, math.Inf(1)
		}
		page(t, bare)
	}
	for n := range 3 {
		short := sample(result.Sweep)
		short.Samples, short.Steps = short.Samples[:n], short.Steps[:1]
		short.Latency, short.Connect = result.NewLatency(), latency(0, 0)
		page(t, short)
	}
}

// TestHTMLOfExtremes has labels that are long, many and far apart.
func TestHTMLOfExtremes(t *testing.T) {
	r := sample(result.Sweep)
	if err := r.Latency.Histogram.RecordValues(1, 3_000_000_000); err != nil {
		t.Fatal(err)
	}
	r.Latency.Record(time.Hour) // the longest there is
	r.Samples = nil
	var heats [7]map[int]int64
	for i := range heats {
		heats[i] = map[int]int64{}
		for b := range 30 {
			heats[i][2*b] = int64(1 + 11*i*b)
		}
	}
	for i := range 100_000 {
		r.Samples = append(r.Samples, result.Sample{At: float64(i), Seconds: 1, Connections: 1_000_000, Count: 123_456_789,
			P50: 0.001, P99: 1e6, Max: 6e8, RSS: 20 << 30, ServerCores: 0.001, Measured: true, Heat: heats[i%len(heats)]})
	}
	r.Steps[8].Offered, r.Steps[8].PerSecond = 40_000_000, 40_000_000
	text := page(t, r)
	if len(text) > 800_000 {
		t.Errorf("the page of a day has %d bytes", len(text))
	}
	for _, want := range []string{"99.9999999%", "20 GiB", "24 h"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
}

// TestTiles: what a scenario is about is seen first.
func TestTiles(t *testing.T) {
	ramp := sample(result.Broadcast)
	ramp.Plan.RampLimit, ramp.Publication.Clients = 500*time.Millisecond, new(7300)
	for _, tt := range []struct {
		r    *result.Result
		want string
	}{
		{sample(result.Echo), "messages|p50|p99|max|CPU a message|RSS a connection"},
		{sample(result.Broadcast), "deliveries|p50|p99|p99 of the last arrival|CPU a delivery|RSS a connection"},
		{ramp, "kept the limit|deliveries|p50|p99|p99 of the last arrival|CPU a delivery|RSS a connection"},
	} {
		var names []string
		for _, tile := range regexp.MustCompile(`<dt>(.*?)</dt>`).FindAllStringSubmatch(page(t, tt.r), -1) {
			names = append(names, tile[1])
		}
		if got := strings.Join(names, "|"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.r.Plan.Scenario, got, tt.want)
		}
	}
}

// TestLinesOfAllKinds: what a result has of times is told apart in the chart.
func TestLinesOfAllKinds(t *testing.T) {
	r := sample(result.Broadcast)
	r.Service = latency(100, time.Millisecond)
	text := page(t, r)
	_, chart, _ := strings.Cut(text, "<b>Latency by percentile</b>")
	caption, _, _ := strings.Cut(chart, "</figcaption>")
	names := map[string]string{}
	for _, key := range regexp.MustCompile(`<path class="([a-z]+)"[^>]*/></svg>([^<]+)<`).FindAllStringSubmatch(caption, -1) {
		class, name := key[1], key[2]
		if names[class] != "" {
			t.Errorf("%q is drawn as %q", name, names[class])
		}
		names[class] = name
		if !strings.Contains(text, ".chart ."+class+" {") {
			t.Errorf("%q: class %q has no style", name, class)
		}
	}
	if len(names) != 5 {
		t.Errorf("lines of %q, want those of five", names)
	}
}

// TestHTMLOfNonsense shows what only a file that somebody has changed can say.
func TestHTMLOfNonsense(t *testing.T) {
	for name, change := range map[string]func(r *result.Result){
		"times for ages": func(r *result.Result) {
			if err := r.Latency.Histogram.RecordValues(1, 1<<51-10_000); err != nil {
				t.Fatal(err)
			}
		},
		"next to no cores": func(r *result.Result) {
			for i := range r.Samples {
				r.Samples[i].ServerCores = math.SmallestNonzeroFloat64
			}
		},
		"a unit that begins with a letter of two bytes": func(r *result.Result) { r.Unit = "élan" },
	} {
		t.Run(name, func(t *testing.T) {
			r := sample(result.Echo)
			change(r)
			if text := page(t, r); !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
				t.Error("a letter is cut")
			}
		})
	}
}

func TestHTMLEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror='x'>&{{.}}`
	r := sample(result.Slow)
	r.Plan.URL, r.Plan.Scenario, r.Plan.Header = "ws://a/"+evil, evil, []string{evil}
	r.Command, r.Version, r.EndedEarly, r.Samples = evil, evil, evil, r.Samples[:5] // it ended early
	r.Machine.CPU, r.Server.Name, r.Client.Bottleneck, r.Unit, r.Steps[0].Name = evil, evil, evil, evil, evil
	r.Troubles, r.Notes = []result.Trouble{{What: evil, Count: 1}}, []string{evil}
	var b strings.Builder
	if err := report.HTML(&b, r, r); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, bad := range []string{"<script", "<img"} {
		if strings.Contains(text, bad) {
			t.Errorf("has %q", bad)
		}
	}
	if !strings.Contains(text, "ws://a/&#34;&gt;&lt;script&gt;") {
		t.Error("the URL is not there")
	}
	for _, svg := range pictures(text) {
		checkSVG(t, svg)
	}
}

func TestBars(t *testing.T) {
	labels := []string{"millrace", "gws", `<b>"nbio" & co</b>`, strings.Repeat("long ", 20)}
	values := []float64{4.31, 6.9, 9.22, -1}
	tests := []struct {
		unit      string
		low, high []float64
		want      []string
	}{
		{"us", values, values, []string{"4.31 us", "9.22 us", "-1 us", "gws", labels[2], "long long long long …ong long long long "}},
		{"B", []float64{4, 6, 9, -2}, []float64{5, 7, 10, 0}, []string{"4.31 B", "10 B"}},
		{"x", values, values, []string{"4.31x", "0.00x"}},
	}
	const title = "CPU <a> message, with a title that is so long that it takes more than one line of the picture"
	for _, test := range tests {
		chart := report.BarChart{Title: title, Unit: test.unit}
		for i, v := range values {
			chart.Bars = append(chart.Bars, report.Bar{Label: labels[i], Value: v, Low: test.low[i], High: test.high[i], Bound: i == 1})
		}
		svg, err := chart.File()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(svg), ` xmlns="http://www.w3.org/2000/svg"`) || loads(string(svg)) != "" {
			t.Errorf("not a file of its own: %.300s", svg)
		}
		var texts, titles []string
		for _, l := range checkSVG(t, string(svg)) {
			texts = append(texts, l.Text)
			if strings.HasPrefix(l.Class, "title") {
				titles = append(titles, l.Text)
			}
		}
		for _, want := range test.want {
			if !slices.Contains(texts, want) {
				t.Errorf("%s: no %q in %q", test.unit, want, texts)
			}
		}
		if len(titles) != 2 || strings.Join(titles, " ") != title {
			t.Errorf("title in lines %q", titles)
		}
		if got := strings.Count(string(svg), `class="whisker`); (got > 0) != (test.unit == "B") {
			t.Errorf("%s: %d intervals", test.unit, got)
		}
		if got := strings.Count(string(svg), `class="other hollow`); got != 1 {
			t.Errorf("%s: %d bars that the client bound, want 1", test.unit, got)
		}
		figure, err := chart.Figure()
		if err != nil {
			t.Fatal(err)
		}
		both := pictures(string(figure))
		if len(both) != 2 || strings.Contains(string(figure), `class="title"`) {
			t.Errorf("%d pictures for a page, want 2 without a title", len(both))
		}
		for _, svg := range both {
			checkSVG(t, svg)
		}
	}
}

func TestBarsOfZero(t *testing.T) {
	chart := report.BarChart{Title: "nothing", Unit: "1/s", Bars: []report.Bar{{Label: "a"}}}
	svg, err := chart.File()
	if err != nil {
		t.Fatal(err)
	}
	checkSVG(t, string(svg))
}

func TestBarsRefuse(t *testing.T) {
	for name, bars := range map[string][]report.Bar{
		"nothing":          nil,
		"not a number":     {{Label: "a", Value: math.NaN()}},
		"an endless bound": {{Label: "a", Value: 1, Low: 1, High: math.Inf(1)}},
	} {
		chart := report.BarChart{Title: "t", Unit: "us", Bars: bars}
		if svg, err := chart.File(); err == nil {
			t.Errorf("%s: %s", name, svg)
		}
		if svg, err := chart.Figure(); err == nil {
			t.Errorf("%s: %s", name, svg)
		}
	}
}
