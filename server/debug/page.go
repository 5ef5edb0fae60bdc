package debug

import (
	_ "embed"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

//go:embed conns.html
var pageText string

// pageData is what the template gets.
type pageData struct {
	report
	N      int
	Closed string // the id that was just closed
	Token  string
}

var page = template.Must(template.New("conns").Funcs(template.FuncMap{
	"orders": func() []string { return orders }, "size": size, "seconds": seconds, "fine": fine, "name": name,
}).Parse(pageText))

const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; " +
	"form-action 'self'; frame-ancestors 'none'"

func (h *conns) writePage(w http.ResponseWriter, data pageData) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", pagePolicy)
	_ = page.Execute(w, data) // the peer is gone if it fails
}

// size is a number of bytes with up to three digits.
func size(n uint64) string {
	value, unit := float64(n), 0
	for value >= 999.5 && unit < len(sizeUnits)-1 {
		value /= 1024
		unit++
	}
	return strconv.FormatFloat(value, 'g', 3, 64) + sizeUnits[unit]
}

var sizeUnits = []string{" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"}

// seconds is a time without more digits than it is worth.
func seconds(s float64) string {
	if s < 60 {
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	}
	return (time.Duration(s) * time.Second).String()
}

// fine is a round-trip time, "" if it is unknown.
func fine(s float64) string {
	switch us := s * 1e6; {
	case us == 0:
		return ""
	case us < 999.5:
		return strconv.FormatFloat(us, 'f', 0, 64) + " \u00b5s"
	default:
		return strconv.FormatFloat(us/1000, 'f', 1, 64) + " ms"
	}
}

// name is an order in words.
func name(order string) string {
	if order == "rtt" {
		return "RTT"
	}
	return order
}
