package load

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/poller"
)

// plan is the load to make, here with its defaults and checks.
type plan struct{ result.Plan }

// reservedDescriptors are those that a process needs besides its connections.
const reservedDescriptors = 64

// maxRate is the highest rate of an open loop: a message each nanosecond.
const maxRate = 1e9

// complete fills in the defaults and says what is wrong.
func (p *plan) complete() error {
	p.fillIn()
	p.leaveOut()
	if !slices.Contains(result.Scenarios(), p.Scenario) {
		return wrong("Scenario", "%q; allowed are %s", p.Scenario, strings.Join(result.Scenarios(), ", "))
	}
	if deflates := []string{DeflateOff, DeflateOn, DeflateTakeover}; !slices.Contains(deflates, p.Deflate) {
		return wrong("Deflate", "%q; allowed are %s", p.Deflate, strings.Join(deflates, ", "))
	}
	if p.has("Text") && !slices.Contains(texts, p.Text) {
		return wrong("Text", "%q; allowed are %s", p.Text, strings.Join(texts, ", "))
	}
	for _, n := range []struct {
		field       string
		value       float64
		least, most float64
	}{
		{"Connections", float64(p.Connections), leastConnections(p.Scenario), 100e6},
		{"MinSize", float64(p.MinSize), p.broadcasts(markSize), 1 << 30}, // a published one begins with a head
		{"MaxSize", float64(p.MaxSize), float64(p.MinSize), 1 << 30},
		{"InFlight", float64(p.InFlight), leastInFlight(p.Scenario), maxInFlight},
		{"Publishers", float64(p.Publishers), p.broadcasts(1), min(float64(p.Connections), maxPublishers)},
		{"RampLimit", p.RampLimit.Seconds(), 0, 1e3},
		{"RampStep", float64(p.RampStep), p.broadcasts(2), 100e6},
		{"Rate", p.Rate, 0.001, maxRate},
		{"Duration", p.Duration.Seconds(), 0.001, 1e6},
		{"ConnectRate", p.ConnectRate, 0, 1e9},
		{"Handshakes", float64(p.Handshakes), 1, 1e6},
		{"ConnectTimeout", p.ConnectTimeout.Seconds(), 0.001, 1e6},
		{"Messages", float64(p.Messages), 0, 1e9},
		{"Waves", float64(p.Waves), 1, 1e6},
		{"SlowShare", p.SlowShare, 0.0001, 0.9999},
		{"SlowRate", float64(p.SlowRate), 0, 1 << 30},
		{"SweepFactor", p.SweepFactor, 1.01, 100},
		{"SweepLimit", p.SweepLimit.Seconds(), 1e-6, 1e3},
		{"SweepMax", p.sweepMax(), p.Rate, maxRate},
		{"SweepPrecision", p.SweepPrecision, 0.001, 1},
		{"Loops", float64(p.Loops), 1, 1024},
		{"Processes", float64(p.Processes), 0, 1000},
		{"FirstReply", p.FirstReply.Seconds(), 1e-6, 1e6},
		{"Timeout", p.Timeout.Seconds(), 0.001, 1e7},
	} {
		if p.has(n.field) && !(n.value >= n.least && n.value <= n.most) { // a NaN too
			return wrong(n.field, "%.10g; allowed are %.10g to %.10g", n.value, n.least, n.most)
		}
	}
	p.Loops = min(p.Loops, p.Connections) // another one would have nothing to do
	if p.Connections < max(p.Processes, 1) {
		return wrong("Processes", "%d for %d connections; at most one each", p.Processes, p.Connections)
	}
	if least := p.Publishers * p.Loops; p.RampLimit > 0 && p.RampStep < min(least, p.Connections) {
		return wrong("RampStep", "%d; allowed are %d to 100000000 for so many publishers and loops", p.RampStep, least)
	}
	if err := p.checkEventStreams(); err != nil {
		return err
	}
	return p.checkDescriptors()
}

// only are the scenarios that have a field; one that is not listed all have.
var only = map[string][]string{
	"InFlight":       {result.Echo, result.Slow, result.Broadcast},
	"Rate":           {result.Rate, result.Sweep, result.Slow, result.Broadcast},
	"Messages":       {result.Churn},
	"Reset":          {result.Churn, result.Wave},
	"Waves":          {result.Wave},
	"SlowShare":      {result.Slow},
	"SlowRate":       {result.Slow},
	"SweepFactor":    {result.Sweep},
	"SweepLimit":     {result.Sweep},
	"SweepMax":       {result.Sweep},
	"SweepPrecision": {result.Sweep},
	"Publishers":     {result.Broadcast},
	"RampLimit":      {result.Broadcast},
	"RampStep":       {result.Broadcast},
	"EventStreams":   {result.Broadcast},
	"Hello":          {result.Receive},
}

// without are the scenarios that do not have a field.
var without = map[string][]string{
	"Warmup":     {result.Idle, result.Storm, result.Wave},
	"Duration":   {result.Storm},
	"MinSize":    {result.Storm, result.Wave, result.Receive}, // they make no messages
	"MaxSize":    {result.Storm, result.Wave, result.Receive},
	"Text":       {result.Storm, result.Wave, result.Receive},
	"Seed":       {result.Storm, result.Wave, result.Receive},
	"Binary":     {result.Storm, result.Wave},
	"FirstReply": {result.Storm, result.Wave, result.Receive},
}

// has tells whether the plan's scenario has a field.
func (p *plan) has(field string) bool {
	scenarios, limited := only[field]
	return (!limited || slices.Contains(scenarios, p.Scenario)) && !slices.Contains(without[field], p.Scenario)
}

// leaveOut makes the fields zero that the scenario does not have: they say nothing of
// the load.
func (p *plan) leaveOut() {
	fields := reflect.ValueOf(&p.Plan).Elem()
	for i := range fields.NumField() {
		if !p.has(fields.Type().Field(i).Name) {
			fields.Field(i).SetZero()
		}
	}
}

// leastConnections is how many a scenario needs.
func leastConnections(scenario string) float64 {
	if scenario == result.Broadcast {
		return 2 // the one that publishes and one that receives
	}
	return 1
}

// leastInFlight: without a bound a broadcast is an open loop.
func leastInFlight(scenario string) float64 {
	if scenario == result.Broadcast {
		return 0
	}
	return 1
}

func (p *plan) fillIn() {
	fill(&p.Connections, 100)
	fill(&p.MinSize, 64)
	fill(&p.MaxSize, p.MinSize)
	if p.Scenario == result.Broadcast {
		p.fillInBroadcast()
	} else {
		fill(&p.InFlight, 1)
	}
	fill(&p.Rate, 1000)
	fill(&p.Warmup, time.Second)
	p.Warmup = max(p.Warmup, 0)
	fill(&p.Duration, 5*time.Second)
	fill(&p.Handshakes, 256)
	fill(&p.ConnectTimeout, 10*time.Second)
	fill(&p.Messages, 1)
	p.Messages = max(p.Messages, 0)
	fill(&p.Waves, 3)
	fill(&p.SlowShare, 0.1)
	fill(&p.SweepFactor, 1.5)
	fill(&p.SweepLimit, 50*time.Millisecond)
	fill(&p.SweepPrecision, 0.05)
	fill(&p.Deflate, DeflateOff)
	p.fillInText()
	fill(&p.Seed, 1)
	fill(&p.Loops, usualLoops(p.Scenario))
	fill(&p.FirstReply, time.Second)
	fill(&p.Timeout, p.usual()+time.Minute)
}

// sweepMax is the highest rate of a sweep.
func (p *plan) sweepMax() float64 {
	if p.SweepMax == 0 {
		return maxRate
	}
	return p.SweepMax
}

func (p *plan) fillInBroadcast() {
	fill(&p.Publishers, 1)
	if p.Publishers < 0 {
		p.Publishers = p.Connections
	}
	fill(&p.RampStep, 1000)
	if p.RampLimit > 0 {
		fill(&p.InFlight, rampInFlight)
	}
}

// broadcasts is least in a broadcast, and else 0.
func (p *plan) broadcasts(least float64) float64 {
	if p.Scenario != result.Broadcast {
		return 0
	}
	return least
}

// fillInText has compressors get what they can compress.
func (p *plan) fillInText() {
	if p.compresses() {
		fill(&p.Text, TextWords)
	}
	fill(&p.Text, TextASCII)
}

// usualLoops is all cores, or half of them for an open loop: to send in time it
// looks at the clock without sleeping, and a server on this machine needs cores.
func usualLoops(scenario string) int {
	if scenario == result.Rate || scenario == result.Sweep {
		return (runtime.GOMAXPROCS(0) + 1) / 2
	}
	return runtime.GOMAXPROCS(0)
}

func fill[T comparable](field *T, otherwise T) {
	var none T
	if *field == none {
		*field = otherwise
	}
}

// usual is how long a plan takes if all goes well.
func (p *plan) usual() time.Duration {
	parts := time.Duration(1)
	switch p.Scenario {
	case result.Sweep:
		parts = maxTries
	case result.Wave:
		parts = time.Duration(p.Waves) + 1
	case result.Slow:
		parts = 2
	case result.Broadcast:
		if p.RampLimit > 0 {
			parts = time.Duration(p.Connections/max(p.RampStep, 1)) + 1
		}
	}
	connect := time.Duration(0)
	if p.ConnectRate > 0 {
		connect = time.Duration(float64(p.Connections) / p.ConnectRate * float64(time.Second))
	}
	return parts*(p.Warmup+p.Duration+connect) + time.Duration(p.Connections)*time.Millisecond
}

// checkDescriptors says how many connections are possible, and why, if the plan
// asks for more.
func (p *plan) checkDescriptors() error {
	soft, hard, err := poller.RaiseDescriptorLimit()
	if err != nil {
		return err
	}
	reserved := reservedDescriptors + 3*p.Loops
	possible := int(min(soft, 1<<40)) - reserved
	processes := max(p.Processes, 1)
	if share := (p.Connections + processes - 1) / processes; share > possible {
		return wrong("Connections", "%d in each process, but one may hold %d: its descriptor limit is %d (hard limit %d), "+
			"of which it needs %d itself; raise the limit or use at least %d processes (where a scenario takes several)",
			share, possible, soft, hard, reserved, (p.Connections+possible-1)/max(possible, 1))
	}
	return nil
}
