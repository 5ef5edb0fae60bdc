package serve

import (
	"fmt"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// deflateOptions are those of compression.
type deflateOptions struct {
	mode                     deflateMode
	level, threshold, window int
	windows                  int64
}

type deflateMode uint8

const (
	deflateOff deflateMode = iota
	deflateOn
	deflateTakeover
)

func (d *deflateOptions) options() []flags.Option {
	modes := map[string]deflateMode{"off": deflateOff, "on": deflateOn, "takeover": deflateTakeover}
	return []flags.Option{
		flags.New("deflate", "MODE", "permessage-deflate for clients that offer it: off, on (each message by itself) or takeover\n"+
			"(messages refer to those before; 8 KiB a connection to send, up to 32 KiB to receive)", "off", flags.Choice(&d.mode, modes, "off", "on", "takeover")),
		flags.New("deflate-level", "N", "effort, from 1, the fastest, to 9", "1", flags.Whole(&d.level, 0, noMost)).Sets("Deflate.Level"),
		flags.New("deflate-threshold", "SIZE", "messages below it are sent uncompressed", "128", flags.Size(&d.threshold, 0, maxBytes)).Sets("Deflate.Threshold"),
		flags.New("deflate-window", "BITS", "largest window in either direction, 2^BITS bytes, 9 to 15; with takeover so much is kept\n"+
			"for a connection in each direction", "", flags.Whole(&d.window, 9, 15)).Sets("Deflate.ServerMaxWindowBits Deflate.ClientMaxWindowBits"),
		flags.New("deflate-windows", "SIZE", "most memory that takeover may come to; who comes beyond it has none", "256MiB", flags.Size(&d.windows, 0, maxBytes)).Sets("Deflate.MaxWindows"),
	}
}

// check refuses settings that contradict each other.
func (d *deflateOptions) check(v flags.Values) error {
	if d.mode != deflateOff {
		return nil
	}
	for _, o := range d.options()[1:] {
		if given := v[o.Name]; !given.ByDefault {
			return fmt.Errorf("%s %s says nothing with --deflate off", given.Source, given.Text)
		}
	}
	return nil
}

func (d *deflateOptions) apply(s *server.Server) error {
	if d.mode == deflateOff {
		return nil
	}
	s.Deflate = &server.Deflate{
		Level: d.level, Threshold: d.threshold,
		ServerTakeover: d.mode == deflateTakeover, ClientTakeover: d.mode == deflateTakeover,
		ServerMaxWindowBits: d.window, ClientMaxWindowBits: d.window,
		MaxWindows: d.windows,
	}
	return nil
}
