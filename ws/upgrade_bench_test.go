package ws_test

import (
	"testing"

	"github.com/millrace/millrace/ws"
)

// handshake is all that the server does with a request head.
func handshake(head, dst []byte, r *ws.Request) ([]byte, error) {
	var s ws.HeadScanner
	end, err := s.Scan(head, ws.HeadLimits{})
	if err != nil {
		return dst, err
	}
	if err := r.Parse(head[:end]); err != nil {
		return dst, err
	}
	if err := r.CheckUpgrade(); err != nil {
		return dst, err
	}
	return ws.AppendUpgrade(dst, r, nil)
}

func BenchmarkHandshake(b *testing.B) {
	for _, c := range realHeads {
		b.Run(c.name, func(b *testing.B) {
			head, dst := []byte(c.head), make([]byte, 0, 512)
			var r ws.Request
			b.ReportAllocs()
			b.SetBytes(int64(len(head)))
			for b.Loop() {
				if _, err := handshake(head, dst, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHandshakeSteps(b *testing.B) {
	head, dst := []byte(realHeads[0].head), make([]byte, 0, 512)
	var r ws.Request
	steps := []struct {
		name string
		do   func() error
	}{
		{"Scan", func() error {
			var s ws.HeadScanner
			_, err := s.Scan(head, ws.HeadLimits{})
			return err
		}},
		{"Parse", func() error { return r.Parse(head) }},
		{"CheckUpgrade", func() error { return r.CheckUpgrade() }},
		{"SameOrigin", func() error { r.SameOrigin(); return nil }},
		{"AppendUpgrade", func() error { _, err := ws.AppendUpgrade(dst, &r, nil); return err }},
	}
	for _, s := range steps {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAdmit is what an upgrade from an allowed origin takes beside its parsing.
func BenchmarkAdmit(b *testing.B) {
	r := parsed(b, upgrade("Host: ws.example.com", "Origin: https://app.example.com"))
	origins := originPatterns(b, "capacitor://localhost", "http://localhost:*", "https://*.example.com")
	host, err := ws.ParseHostPattern("*.example.com")
	if err != nil {
		b.Fatal(err)
	}
	hosts := []ws.HostPattern{host}
	b.ReportAllocs()
	for b.Loop() {
		if !r.HostIn(hosts) || r.SameOrigin() || !r.OriginIn(origins) {
			b.Fatal("refused")
		}
	}
}
