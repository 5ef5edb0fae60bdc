package serve

import (
	"encoding"
	"fmt"
	"io"
	"log/slog"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// logOptions are what is logged, and how.
type logOptions struct {
	level  slog.Level
	json   bool
	access bool
}

func (l *logOptions) options() []flags.Option {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	formats := map[string]bool{"text": false, "json": true}
	return []flags.Option{
		flags.New("log-level", "LEVEL", "least level that is logged: debug, info, warn or error", "info", flags.Choice(&l.level, levels, "debug", "info", "warn", "error")),
		flags.New("log-format", "FORMAT", "a line's form: text (key=value) or json", "text", flags.Choice(&l.json, formats, "text", "json")),
		switchedOn("access-log", "log each WebSocket's and event stream's beginning and end, each\nrefused request, and what plain requests publish and purge; off", &l.access),
	}
}

func (l *logOptions) apply(s *server.Server) error {
	s.LogRefusals = l.access
	return nil
}

// accessLog is where connections are logged, nil if they are not.
func (l *logOptions) accessLog(log *slog.Logger) *slog.Logger {
	if l.access {
		return log
	}
	return nil
}

// handler writes as configured.
func (l *logOptions) handler(to io.Writer) slog.Handler {
	if l.json {
		return slog.NewJSONHandler(to, &slog.HandlerOptions{Level: l.level, ReplaceAttr: inWords})
	}
	return slog.NewTextHandler(to, &slog.HandlerOptions{Level: l.level})
}

// inWords has JSON say what text does of values that know their words and not their
// JSON: addresses, signals.
func inWords(_ []string, a slog.Attr) slog.Attr {
	value := a.Value.Any()
	if _, ok := value.(encoding.TextMarshaler); ok || a.Value.Kind() != slog.KindAny {
		return a
	}
	if s, ok := value.(fmt.Stringer); ok {
		a.Value = slog.StringValue(s.String())
	}
	return a
}
