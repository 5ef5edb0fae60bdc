package result

// Figure is one number of a result, by the name under which --fail-if and
// compare know it.
type Figure struct {
	Name  string
	Value float64
	Unit  string // "us", "1/s", "B", "cores", "x" of a ratio, "clients", "" for a plain count
	Known bool   // the run measured it; else Value is NaN
	// MoreIsBetter tells a rate from a cost.
	MoreIsBetter bool
	// ServersOwn tells what the server needs for one message, connection or handshake, and
	// how small it makes messages, from what is also the client's when that is at its limit:
	// rates and times.
	ServersOwn bool
}

// Figures gives all figures of a result, always the same ones in the same order.
func (r *Result) Figures() []Figure {
	troubles := 0
	for _, t := range r.Troubles {
		troubles += t.Count
	}
	figures := []Figure{
		{Name: "rate", Value: r.PerSecond, Unit: "1/s", Known: Known(r.PerSecond), MoreIsBetter: true},
	}
	figures = append(figures, kneeOf(r.Knee))
	figures = append(figures, quantiles("", r.Latency)...)
	figures = append(figures, quantiles("service-", r.Service)...)
	figures = append(figures, quantiles("skew-", r.Skew)...)
	figures = append(figures, quantiles("last-", r.Last)...)
	figures = append(figures, quantiles("connect-", r.Connect)...)
	server := r.Server
	if server == nil {
		server = &ServerUse{CPU: Unknown(), Cores: Unknown(), PerConnection: Unknown()}
	}
	publication := r.Publication
	if publication == nil {
		publication = &Publication{}
	}
	published := r.Publication != nil
	handshakes, wire := r.Handshakes, r.Wire
	if handshakes == nil {
		handshakes = &Handshakes{}
	}
	if wire == nil {
		wire = &Wire{}
	}
	perHandshake := Unknown()
	if handshakes.Count > 0 {
		perHandshake = server.Cores * r.Seconds * 1e6 / float64(handshakes.Count)
	}
	return append(figures,
		own(figure("cpu", server.CPU, "us", server.CPU > 0)),
		figure("server-cores", server.Cores, "cores", true),
		own(figure("rss", server.PerConnection, "B", server.After > 0)),
		figure("client-cores", r.Client.Cores, "cores", true),
		better(figure("handshakes", handshakes.PerSecond, "1/s", handshakes.Count > 0)),
		own(figure("handshake-cpu", perHandshake, "us", perHandshake > 0)),
		better(figure("resumed", float64(handshakes.Resumed), "", r.Handshakes != nil)),
		own(figure("ratio-sent", wire.SentRatio(), "x", wire.SentPayload > 0)),
		own(figure("ratio-received", wire.ReceivedRatio(), "x", wire.ReceivedPayload > 0)),
		better(figure("published", publication.PerSecond, "1/s", published)),
		orUnknown("missing", publication.Missing, ""),
		figure("doubled", float64(publication.Doubled), "", published),
		better(orUnknown("clients", publication.Clients, "clients")),
		Figure{Name: "failed", Value: float64(r.Failed), Known: true},
		Figure{Name: "lost", Value: float64(r.Lost), Known: true},
		Figure{Name: "errors", Value: float64(troubles), Known: true},
	)
}

// kneeOf is the highest rate that held, if a higher one did not: without that it
// is no knee.
func kneeOf(k *Knee) Figure {
	f := Figure{Name: "knee", Value: Unknown(), Unit: "1/s", MoreIsBetter: true}
	if k != nil && k.High != nil {
		f.Value, f.Known = k.Low, true
	}
	return f
}

// figure is one that may not be known. It is not if told is false.
func figure(name string, value float64, unit string, told bool) Figure {
	if !told {
		value = Unknown()
	}
	return Figure{Name: name, Value: value, Unit: unit, Known: Known(value)}
}

// orUnknown is a count's figure. nil is one that is not known.
func orUnknown[N int | int64](name string, count *N, unit string) Figure {
	if count == nil {
		return figure(name, 0, unit, false)
	}
	return figure(name, float64(*count), unit, true)
}

func quantiles(prefix string, l *Latency) []Figure {
	known := l.Count() > 0
	return []Figure{
		{Name: prefix + "mean", Value: l.Mean(), Unit: "us", Known: known},
		{Name: prefix + "p50", Value: l.Quantile(0.5), Unit: "us", Known: known},
		{Name: prefix + "p90", Value: l.Quantile(0.9), Unit: "us", Known: known},
		{Name: prefix + "p95", Value: l.Quantile(0.95), Unit: "us", Known: known},
		{Name: prefix + "p99", Value: l.Quantile(0.99), Unit: "us", Known: known},
		{Name: prefix + "p99.9", Value: l.Quantile(0.999), Unit: "us", Known: known},
		{Name: prefix + "p99.99", Value: l.Quantile(0.9999), Unit: "us", Known: known},
		{Name: prefix + "max", Value: l.Quantile(1), Unit: "us", Known: known},
	}
}

// better marks a figure of which more is better.
func better(f Figure) Figure {
	f.MoreIsBetter = true
	return f
}

// own marks a figure that is the server's own.
func own(f Figure) Figure {
	f.ServersOwn = true
	return f
}

// Figure gives one figure by its name.
func (r *Result) Figure(name string) (Figure, bool) {
	for _, f := range r.Figures() {
		if f.Name == name {
			return f, true
		}
	}
	return Figure{}, false
}
