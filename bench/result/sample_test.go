package result_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/bench/result"
)

// TestSampleJSON: what is not known is null, and comes back as that.
func TestSampleJSON(t *testing.T) {
	unknown := result.Sample{At: 1.5, Seconds: 0.1, P50: math.NaN(), P99: math.NaN(), Max: math.NaN(), ServerCores: math.NaN()}
	text, err := json.Marshal(unknown)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"at":1.5`, `"seconds":0.1`, `"p50_us":null`, `"p99_us":null`, `"max_us":null`, `"rss":null`, `"server_cores":null`, `"count":0`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	for _, text := range []string{string(text), `{"at":1.5,"seconds":0.1}`} {
		back := result.Sample{RSS: 7, Max: 7}
		if err := json.Unmarshal([]byte(text), &back); err != nil {
			t.Fatal(err)
		}
		if back.At != 1.5 || result.Known(back.P50) || result.Known(back.P99) || result.Known(back.Max) || result.Known(back.ServerCores) || back.RSS != 0 {
			t.Errorf("%s is read as %+v", text, back)
		}
	}
	known := result.Sample{
		At: 1, Seconds: 0.1, Connections: 2, Count: 3, P50: 4, P99: 5, Max: 6, Heat: map[int]int64{6: 2, 7: 1}, RSS: 7, ServerCores: 0, Measured: true,
	}
	text, _ = json.Marshal(known) // the error would show
	var back result.Sample
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, known) {
		t.Errorf("%+v went out, %+v came back, %v", known, back, err)
	}
}

func TestJoin(t *testing.T) {
	nan := math.NaN()
	empty := result.Sample{At: 1, Seconds: 0.1, Connections: 5, P50: nan, P99: nan, Max: nan, ServerCores: nan}
	full := result.Sample{At: 1.1, Seconds: 0.3, Connections: 4, Count: 3, P50: 4, P99: 5, Max: 6, Heat: map[int]int64{6: 3}, RSS: 7, ServerCores: 1, Measured: true}
	want := full
	want.At, want.Seconds = 1, 0.4
	if got := empty.Join(full); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	last := result.Sample{At: 1.4, Seconds: 0.1, Connections: 3, Count: 1, P50: 9, P99: 9, Max: 9, Heat: map[int]int64{6: 1, 9: 1}, RSS: 1, ServerCores: 0}
	got := full.Join(last)
	if got.At != 1.1 || got.Connections != 3 || got.Count != 4 || got.P50 != 9 || got.Max != 9 || got.RSS != 7 || !got.Measured ||
		math.Abs(got.ServerCores-0.75) > 1e-9 || !reflect.DeepEqual(got.Heat, map[int]int64{6: 4, 9: 1}) {
		t.Errorf("%+v", got)
	}
	if full.Heat[6] != 3 {
		t.Error("a joined sample was changed")
	}
}

func TestHeat(t *testing.T) {
	for us, want := range map[float64]int{0: 0, -1: 0, math.NaN(): 0, 0.5: 0, 1: 0, 1.3: 1, 10: 10, 1000: 30, 1e6: 60, 6e8: 87, 1e12: 89, math.Inf(1): 89} {
		if got := result.HeatBucket(us); got != want {
			t.Errorf("%v us is in bucket %d, want %d", us, got, want)
		}
	}
	for b := range result.HeatBuckets {
		if from := result.HeatFrom(b); result.HeatBucket(from) != b || b > 0 && result.HeatBucket(from*0.999) != b-1 {
			t.Errorf("bucket %d does not begin at %v us", b, from)
		}
	}
}
