package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/bench/result"
	"github.com/millrace/millrace/internal/report"
)

// outputs are the files that a run leaves; nil where none was asked for.
type outputs struct {
	json, histogram, page *output
	written               []string // paths
}

// openOutputs creates them all, or says which flag's can't be. They must be
// discarded in the end.
func (c *config) openOutputs() (*outputs, error) {
	o := &outputs{}
	taken := make(map[string]string) // path to flag
	for _, f := range []struct {
		flag, path string
		to         **output
	}{{"json", c.json, &o.json}, {"hgrm", c.histogram, &o.histogram}, {"report", c.page, &o.page}} {
		if f.path == "" || f.path == "-" {
			continue
		}
		if other, ok := taken[filepath.Clean(f.path)]; ok {
			o.discard()
			return nil, fmt.Errorf("--%s: %s is the file of --%s", f.flag, f.path, other)
		}
		taken[filepath.Clean(f.path)] = f.flag
		var err error
		if *f.to, err = create(f.path); err != nil {
			o.discard()
			return nil, fmt.Errorf("--%s: %w", f.flag, err)
		}
	}
	return o, nil
}

func (o *outputs) discard() {
	o.json.discard()
	o.histogram.discard()
	o.page.discard()
}

// write writes a result into all files. It goes on after an error.
func (o *outputs) write(r *result.Result) error {
	return errors.Join(
		o.put("json", o.json, func(w io.Writer) error { return report.WriteJSON(w, r) }),
		o.putHistogram(o.histogram, r.Latency),
		o.putBeside("service", r.Service),
		o.putBeside("skew", r.Skew),
		o.putBeside("last", r.Last),
		o.put("report", o.page, func(w io.Writer) error { return report.HTML(w, r) }),
	)
}

func (o *outputs) put(flag string, to *output, content func(io.Writer) error) error {
	if to == nil {
		return nil
	}
	if err := to.write(content); err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	o.written = append(o.written, to.path)
	return nil
}

func (o *outputs) putHistogram(to *output, l *result.Latency) error {
	return o.put("hgrm", to, func(w io.Writer) error { return report.WriteHistogram(w, l) })
}

// putBeside writes another distribution, if there is one, into a file whose name
// has that before its extension. A pipe has no such file.
func (o *outputs) putBeside(name string, l *result.Latency) error {
	if o.histogram == nil || o.histogram.inPlace || l.Count() == 0 {
		return nil
	}
	extension := filepath.Ext(o.histogram.path)
	beside, err := create(strings.TrimSuffix(o.histogram.path, extension) + "-" + name + extension)
	if err != nil {
		return fmt.Errorf("--hgrm: %w", err)
	}
	defer beside.discard()
	return o.putHistogram(beside, l)
}
