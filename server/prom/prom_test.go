package prom_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/prom"
	"github.com/millrace/millrace/ws"
)

const patience = 20 * time.Second

// echo sends back, and panics on demand.
type echo struct{}

func (echo) Open(*server.Conn) {}

func (echo) Message(c *server.Conn, m ws.Message) {
	if string(m.Payload) == "panic" {
		panic("as asked")
	}
	_ = c.Send(m.Opcode, m.Payload) // the test sees
}

func (echo) Close(*server.Conn, error) {}

// start is startServer for who needs no server.
func start(t *testing.T) (addr string, scrape func() map[string]*dto.MetricFamily) {
	t.Helper()
	addr, scrape, _ = startServer(t)
	return addr, scrape
}

// startServer serves until the test ends, and gives what scrapes it.
func startServer(t *testing.T) (addr string, scrape func() map[string]*dto.MetricFamily, srv *server.Server) {
	t.Helper()
	engine, err := poller.New("")
	if err != nil {
		t.Fatal(err)
	}
	srv = &server.Server{Runtime: server.Runtime{Engine: engine, Loops: 2}, Handler: echo{}, Timeouts: server.Timeouts{Close: time.Hour}, Logger: slog.New(slog.DiscardHandler)}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prom.NewCollector(srv))
	metrics := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	t.Cleanup(metrics.Close)
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		_ = srv.Close() // always nil
		<-served
	})
	return addr, func() map[string]*dto.MetricFamily {
		families, err := read(metrics.URL)
		if err != nil {
			t.Error(err)
		}
		return families
	}, srv
}

// read scrapes a page with Prometheus' own parser and linter.
func read(url string) (map[string]*dto.MetricFamily, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s, %v: %s", resp.Status, err, text)
	}
	problems, err := promlint.New(strings.NewReader(string(text))).Lint()
	if err != nil || len(problems) > 0 {
		return nil, fmt.Errorf("promlint: %v %v", problems, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(strings.NewReader(string(text)))
}

// value is that of a counter or gauge with these labels, as name="value".
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	for _, m := range families[name].GetMetric() {
		var got []string
		for _, l := range m.GetLabel() {
			got = append(got, l.GetName()+"="+l.GetValue())
		}
		if strings.Join(got, " ") == strings.Join(labels, " ") {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return -1
}

// talk opens a connection, sends frames and reads as many bytes as the answers
// have; then it is open still.
func talk(addr, frames string, answer int) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience)) // a fresh connection
	const request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := io.WriteString(conn, request+frames); err != nil {
		return conn, err
	}
	r := bufio.NewReader(conn)
	if _, err := http.ReadResponse(r, nil); err != nil {
		return conn, err
	}
	_, err = io.CopyN(io.Discard, r, int64(answer))
	return conn, err
}

// Masked with zeros: a text, a request for a panic, a close frame with 1000, and
// one with 4321.
const (
	hello       = "\x81\x85\x00\x00\x00\x00hello"
	panicked    = "\x81\x85\x00\x00\x00\x00panic"
	closeNormal = "\x88\x82\x00\x00\x00\x00\x03\xe8"
	close4321   = "\x88\x82\x00\x00\x00\x00\x10\xe1"
)

func TestValues(t *testing.T) {
	t.Parallel()
	addr, scrape := start(t)
	for _, c := range []struct {
		frames string
		answer int
	}{{hello + hello, 14}, {hello + closeNormal, 7 + 4}, {close4321, 4}, {panicked, 2 + 2 + len("internal error")}} {
		conn, err := talk(addr, c.frames, c.answer)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	vanish(t, addr)
	resp, err := http.Get("http://" + addr) // no upgrade
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	req, err := http.NewRequest(http.MethodGet, "http://"+addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("x", 20<<10))
	if resp, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	want := []struct {
		name   string
		labels []string
		value  float64
	}{
		{"millrace_connections", []string{"state=open"}, 1}, {"millrace_connections", []string{"state=handshake"}, 0},
		{"millrace_connections_accepted_total", nil, 8},
		{"millrace_upgrades_total", []string{"code=101"}, 6},
		{"millrace_upgrades_total", []string{"code=426"}, 1},
		{"millrace_upgrades_total", []string{"code=431"}, 1},
		{"millrace_closes_total", []string{"by=peer", "code=1000"}, 1},
		{"millrace_closes_total", []string{"by=peer", "code=4000-4999"}, 1},
		{"millrace_closes_total", []string{"by=peer", "code=1006"}, 2},
		{"millrace_closes_total", []string{"by=server", "code=1011"}, 1},
		{"millrace_messages_received_total", nil, 4},
		{"millrace_messages_sent_total", nil, 3},
		{"millrace_handler_panics_total", nil, 1},
		{"millrace_limits_met_total", []string{"limit=head"}, 1},
		{"millrace_limits_met_total", []string{"limit=queue"}, 0},
		{"millrace_loops", nil, 2},
		{"millrace_workers", []string{"state=leading"}, 2},
		{"millrace_workers_max", nil, 1024},
	}
	var families map[string]*dto.MetricFamily
	wrong := func() (wrong string) {
		families = scrape()
		for _, w := range want {
			if got := value(families, w.name, w.labels...); got != w.value {
				wrong += fmt.Sprintf("%s%v is %v, want %v\n", w.name, w.labels, got, w.value)
			}
		}
		return wrong
	}
	for end := time.Now().Add(patience); wrong() != ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(wrong())
		}
	}
	if got := value(families, "millrace_sent_bytes_total"); got < 3*7+4*100 {
		t.Errorf("%v bytes sent", got)
	}
}

// vanish opens two connections and ends them without a close frame, by FIN and by RST.
func vanish(t *testing.T, addr string) {
	t.Helper()
	for _, end := range []func(*net.TCPConn) error{
		(*net.TCPConn).CloseWrite,
		func(conn *net.TCPConn) error { return errors.Join(conn.SetLinger(0), conn.Close()) },
	} {
		conn, err := talk(addr, "", 0)
		if err == nil {
			err = end(conn.(*net.TCPConn))
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // at the latest
	}
}

// TestDrain: the phases follow one another, and those that end are counted.
func TestDrain(t *testing.T) {
	t.Parallel()
	addr, scrape, srv := startServer(t)
	for range 2 { // one answers the close frame, one does not
		conn, err := talk(addr, hello, 7)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if srv.Stats().Upgraded == 1 {
			go func() {
				_, _ = io.CopyN(io.Discard, conn, 2)     // the drain begins
				_, _ = io.WriteString(conn, closeNormal) // the test sees what becomes of it
				_, _ = io.Copy(io.Discard, conn)         // until the end
			}()
		}
	}
	expect := func(name string, want float64, labels ...string) {
		t.Helper()
		for end := time.Now().Add(patience); value(scrape(), name, labels...) != want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s%v is %v, want %v", name, labels, value(scrape(), name, labels...), want)
			}
		}
	}
	expect("millrace_ready", 1)
	expect("millrace_drain_phase", 1, "phase=serving")
	expect("millrace_drain_phase", 0, "phase=draining")
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	go func() { drained <- srv.Drain(ctx, server.DrainOptions{}) }()
	expect("millrace_drain_phase", 1, "phase=draining")
	expect("millrace_ready", 0)
	expect("millrace_drain_connections_total", 1, "end=closed")
	expect("millrace_connections", 1, "state=closing")
	cancel()
	<-drained
	expect("millrace_drain_connections_total", 1, "end=cut")
	expect("millrace_drain_phase", 1, "phase=stopped")
	expect("millrace_drain_phase", 0, "phase=serving")
}

// TestLag: the histogram is one: cumulative, with the bounds of the server.
func TestLag(t *testing.T) {
	t.Parallel()
	addr, scrape := start(t)
	conn, err := talk(addr, hello, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var lag *dto.Histogram
	for end := time.Now().Add(patience); lag.GetSampleCount() < 3; {
		if time.Now().After(end) {
			t.Fatal("no lag is told")
		}
		if _, err := io.WriteString(conn, hello); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, conn, 7); err != nil {
			t.Fatal(err)
		}
		lag = scrape()["millrace_loop_lag_seconds"].GetMetric()[0].GetHistogram()
	}
	buckets := lag.GetBucket()
	if len(buckets) != len(server.LagBounds)+1 { // and +Inf
		t.Errorf("%d buckets, want %d", len(buckets), len(server.LagBounds)+1)
	}
	last := buckets[len(buckets)-1].GetCumulativeCount()
	if last != lag.GetSampleCount() {
		t.Errorf("the last bucket holds %d of %d", last, lag.GetSampleCount())
	}
}

// TestScrapesBesideTraffic scrapes from several goroutines while connections
// open, talk and close; counters never go back.
func TestScrapesBesideTraffic(t *testing.T) {
	t.Parallel()
	addr, scrape := start(t)
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		all.Go(func() {
			before := -1.0
			for {
				got := value(scrape(), "millrace_messages_received_total")
				if got < before {
					t.Errorf("messages went from %v to %v", before, got)
				}
				before = got
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 50 {
				conn, err := talk(addr, hello+closeNormal, 11)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Close() // it is over
			}
		})
	}
	clients.Wait()
	close(done)
	all.Wait()
	if got := value(scrape(), "millrace_messages_received_total"); got != 200 {
		t.Errorf("%v messages, want 200", got)
	}
}

// TestBeforeStart: a server that was never used has metrics too, zeros.
func TestBeforeStart(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"one", "two"} {
		prometheus.WrapRegistererWith(prometheus.Labels{"server": name}, registry).MustRegister(prom.NewCollector(&server.Server{}))
	}
	families, err := registry.Gather()
	if err != nil || len(families) == 0 {
		t.Fatalf("%d families, %v", len(families), err)
	}
}

var (
	described = regexp.MustCompile(`fqName: "([^"]+)", help: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	metricRow = regexp.MustCompile("(?m)^\\| `(millrace_[a-z_]+)`((?: `[a-z]+`)*) \\|")
)

// TestMetricsInDocs: the table lists every metric with its labels, and no other, and
// docs/limits.md names every limit.
func TestMetricsInDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics-and-alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	limits, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
		if _, twice := listed[row[1]]; twice {
			t.Errorf("docs/metrics-and-alerts.md lists %s twice", row[1])
		}
		listed[row[1]] = strings.ReplaceAll(strings.Trim(row[2], " `"), "` `", ",")
	}
	descs := make(chan *prometheus.Desc, 1000)
	prom.NewCollector(&server.Server{}).Describe(descs)
	close(descs)
	for desc := range descs {
		parts := described.FindStringSubmatch(desc.String())
		if parts == nil {
			t.Fatalf("no name in %v", desc)
		}
		labels, ok := listed[parts[1]]
		if !ok || labels != parts[3] {
			t.Errorf("docs/metrics-and-alerts.md lists %s with the labels %q, want %q", parts[1], labels, parts[3])
		}
		delete(listed, parts[1])
	}
	for name := range listed {
		t.Errorf("docs/metrics-and-alerts.md lists %s, which is no metric", name)
	}
	for limit := range server.NumLimits {
		if !strings.Contains(string(limits), " | `"+limit.String()+"` |") {
			t.Errorf("docs/limits.md lacks %s", limit)
		}
	}
}
