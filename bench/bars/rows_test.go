package main

import (
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		figures []float64
		want    float64
	}{
		{[]float64{7}, 7},
		{[]float64{4, 1}, 2.5},
		{[]float64{9, 1, 5}, 5},
		{[]float64{9, 1, 5, 7}, 6},
	} {
		if got := median(tt.figures); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.figures, got, tt.want)
		}
	}
}

func TestPass(t *testing.T) {
	for _, tt := range []struct {
		name       string
		row        row
		base, ours []float64
		want       bool
	}{
		{"at most, below", row{base: floor, bar: 1.1}, []float64{10, 10, 99}, []float64{11, 10, 99}, true},
		{"at most, over", row{base: floor, bar: 1.1}, []float64{10}, []float64{12}, false},
		{"at least, above", row{base: floor, bar: 0.8, least: true}, []float64{10}, []float64{8}, true},
		{"at least, under", row{base: floor, bar: 0.8, least: true}, []float64{10}, []float64{7}, false},
		{"absolute, below", row{bar: 200}, nil, []float64{200}, true},
		{"absolute, over", row{bar: 200}, nil, []float64{201}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := result{row: tt.row, baseFigures: tt.base, ourFigures: tt.ours}
			if got := r.pass(); got != tt.want {
				t.Errorf("pass() = %v at %v, want %v", got, r.value(), tt.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	got := table([]result{
		{row{name: "echo", what: "CPU us", base: floor, bar: 1.1}, []float64{4, 5, 6}, []float64{5, 5, 9}},
		{row{name: "flight", what: "msgs/s", base: floor, bar: 0.8, least: true}, []float64{100}, []float64{70}},
		{row{name: "idle", what: "B", bar: 200}, nil, []float64{250}},
	}, 3, 1)
	for _, want := range []string{
		"Medians of 3 runs of 1 s",
		"| echo | CPU us | 5 | 5 | 1.00x | 1-1.5 | <= 1.10x | PASS |",
		"| flight | msgs/s | 100 | 70 | 0.70x | 0.7-0.7 | >= 0.80x | under |",
		"| idle | B |  | 250 |  | 250-250 | <= 200 | over |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestParse(t *testing.T) {
	f, err := parse([]byte(`{"mode":"echo","opened":100,"failed":0,"closed":0,"msgs_s":5,"p99_us":7.5,"server_cpu_us_msg":4.25,"rss_per_conn":190}`))
	want := figures{Opened: 100, Messages: 5, P99: 7.5, CPU: 4.25, RSSOfConn: 190}
	if err != nil || f != want {
		t.Errorf("parse gave %+v, %v, want %+v", f, err, want)
	}
	for _, bad := range []string{"", `{"opened":99,"failed":1}`, `{"opened":100,"closed":1}`, `{"opened":0}`} {
		if _, err := parse([]byte(bad)); err == nil {
			t.Errorf("parse(%q) gave no error", bad)
		}
	}
}
