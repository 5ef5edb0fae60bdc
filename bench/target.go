package bench

import "github.com/millrace/millrace/bench/result"

// What Target.Deflate may be.
const (
	DeflateOff      = "off"      // no compression
	DeflateOn       = "on"       // each message by itself
	DeflateTakeover = "takeover" // each with those before it in mind, both ways
)

// Target is the server to load, and the request that each connection begins with.
type Target struct {
	// URL is ws://host[:port]/path, or wss:// with TLS. It has no default.
	URL string
	// CAFile is a file of certificates in PEM that are trusted, in wss, in place of
	// the system's. "": the system's.
	CAFile string
	// Insecure trusts any certificate, in wss.
	Insecure bool
	// Origin and Subprotocol go into the request; "": none.
	Origin      string
	Subprotocol string
	// Header is what else goes into the request: lines "Name: value".
	Header []string
	// Deflate is DeflateOff, DeflateOn or DeflateTakeover; a server that declines is
	// a trouble. Messages.Text says what is compressed. Default DeflateOff.
	Deflate string
	// Resume has connections resume the TLS session of one before them, in wss; a
	// server that resumes none is a trouble. The first ones, which begin before any has
	// a session, do without.
	Resume bool
	// PID is the server's process on this machine, to measure its CPU and memory.
	// 0: whoever listens on the URL's port, if that is on loopback and not this very
	// process; -1: nobody.
	PID int
}

func (t Target) addTo(p *result.Plan) {
	p.URL, p.CAFile, p.Insecure, p.Resume = t.URL, t.CAFile, t.Insecure, t.Resume
	p.Origin, p.Subprotocol, p.Header, p.Deflate = t.Origin, t.Subprotocol, t.Header, t.Deflate
	p.ServerPID = t.PID
}
