package result

import "encoding/json"

// LeastForMemory is how many connections it takes to tell what memory one of them costs
// the server: among fewer its own coming and going is too much of the growth.
const LeastForMemory = 1000

// ServerUse is what the server's process used.
type ServerUse struct {
	PID int `json:"pid"`
	// Name is the process's command name.
	Name string `json:"name"`
	// CPU is microseconds of CPU time for each Unit of the measured window; NaN (null in
	// JSON): not known, as if the process has ended in the window, or nothing was done.
	CPU float64 `json:"cpu_us"`
	// Cores is how many cores it kept busy; NaN (null in JSON): not known.
	Cores float64 `json:"cores"`
	// Before and After are its resident bytes before the first connection and
	// at the end of the measured window, while the connections were open; 0 (null in
	// JSON): not known.
	Before int64 `json:"rss_before"`
	After  int64 `json:"rss_after"`
	// PerConnection is the growth of its resident bytes for each connection; NaN (null in
	// JSON) if there were fewer than LeastForMemory, or the process did not grow.
	PerConnection float64 `json:"rss_per_connection"`
}

// ClientUse is what the load generator used, its child processes included.
type ClientUse struct {
	Cores     float64 `json:"cores"`     // busy in the measured window; NaN (null in JSON): not known
	Available int     `json:"available"` // it could have used
	Memory    int64   `json:"memory"`    // resident bytes at the end of the measured window; 0 (null in JSON): not known
	// Late is by how much sendings of an open loop missed their time because of
	// the client itself.
	Late *Latency `json:"late,omitempty"`
	// Bottleneck is why the client, not the server, bounded the figures; "" if
	// it did not.
	Bottleneck string `json:"bottleneck,omitempty"`
}

// In what follows the outer fields hide those of the same name in the inner struct.

type plainServer ServerUse

type serverJSON struct {
	plainServer
	CPU           *float64 `json:"cpu_us"`
	Cores         *float64 `json:"cores"`
	Before        *int64   `json:"rss_before"`
	After         *int64   `json:"rss_after"`
	PerConnection *float64 `json:"rss_per_connection"`
}

// MarshalJSON writes null for what is not known.
func (u ServerUse) MarshalJSON() ([]byte, error) {
	return json.Marshal(serverJSON{
		plainServer(u), figureOrNull(u.CPU), figureOrNull(u.Cores), bytesOrNull(u.Before), bytesOrNull(u.After), figureOrNull(u.PerConnection),
	})
}

// UnmarshalJSON takes null, and what is not there, for not known.
func (u *ServerUse) UnmarshalJSON(text []byte) error {
	var read serverJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*u = ServerUse(read.plainServer)
	u.CPU, u.Cores, u.PerConnection = orNaN(read.CPU), orNaN(read.Cores), orNaN(read.PerConnection)
	u.Before, u.After = orNone(read.Before), orNone(read.After)
	return nil
}

type plainClient ClientUse

type clientJSON struct {
	plainClient
	Cores  *float64 `json:"cores"`
	Memory *int64   `json:"memory"`
}

// MarshalJSON writes null for what is not known.
func (u ClientUse) MarshalJSON() ([]byte, error) {
	return json.Marshal(clientJSON{plainClient(u), figureOrNull(u.Cores), bytesOrNull(u.Memory)})
}

// UnmarshalJSON takes null, and what is not there, for not known.
func (u *ClientUse) UnmarshalJSON(text []byte) error {
	var read clientJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*u = ClientUse(read.plainClient)
	u.Cores, u.Memory = orNaN(read.Cores), orNone(read.Memory)
	return nil
}

type plainPublication Publication

type publicationJSON struct {
	plainPublication
	PerSecond *float64 `json:"published_per_second"`
}

// MarshalJSON writes null for what is not known.
func (p Publication) MarshalJSON() ([]byte, error) {
	return json.Marshal(publicationJSON{plainPublication(p), figureOrNull(p.PerSecond)})
}

// UnmarshalJSON takes null, and what is not there, for not known.
func (p *Publication) UnmarshalJSON(text []byte) error {
	var read publicationJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*p = Publication(read.plainPublication)
	p.PerSecond = orNaN(read.PerSecond)
	return nil
}

type plainHandshakes Handshakes

type handshakesJSON struct {
	plainHandshakes
	PerSecond *float64 `json:"per_second"`
}

// MarshalJSON writes null for what is not known.
func (h Handshakes) MarshalJSON() ([]byte, error) {
	return json.Marshal(handshakesJSON{plainHandshakes(h), figureOrNull(h.PerSecond)})
}

// UnmarshalJSON takes null, and what is not there, for not known.
func (h *Handshakes) UnmarshalJSON(text []byte) error {
	var read handshakesJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*h = Handshakes(read.plainHandshakes)
	h.PerSecond = orNaN(read.PerSecond)
	return nil
}

type plainStep Step

type stepJSON struct {
	plainStep
	PerSecond *float64 `json:"per_second"`
}

// MarshalJSON writes null for what is not known.
func (s Step) MarshalJSON() ([]byte, error) {
	return json.Marshal(stepJSON{plainStep(s), figureOrNull(s.PerSecond)})
}

// UnmarshalJSON takes null, and what is not there, for not known.
func (s *Step) UnmarshalJSON(text []byte) error {
	var read stepJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*s = Step(read.plainStep)
	s.PerSecond = orNaN(read.PerSecond)
	return nil
}

type plainResult Result

type resultJSON struct {
	plainResult
	PerSecond *float64 `json:"per_second"`
}

// MarshalJSON writes null for what is not known.
func (r Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(resultJSON{plainResult(r), figureOrNull(r.PerSecond)})
}

// UnmarshalJSON takes null, and what is not there, for not known.
func (r *Result) UnmarshalJSON(text []byte) error {
	var read resultJSON
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*r = Result(read.plainResult)
	r.PerSecond = orNaN(read.PerSecond)
	return nil
}
