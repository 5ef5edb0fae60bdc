package serve

import (
	"context"
	"log/slog"
	"os"
	"time"
)

// reloadPeriod is how often files are looked at.
const reloadPeriod = 5 * time.Second

// reloaded is what is read again.
type reloaded interface {
	Reload() error
	Watch(ctx context.Context, period time.Duration, tell func(error))
}

// reloads are what is read again on SIGHUP and when its files change, and what can not be read until it can. Each has who is
// told of it.
type reloads map[reloaded]func(error)

// reloads are the certificate, and the authorities of clients.
func (t *tlsOptions) reloads(log *slog.Logger) reloads {
	all := reloads{}
	if t.pair != nil {
		all[t.pair] = func(err error) { t.tellPair(log, err) }
	}
	if t.clientCAs != nil {
		all[t.clientCAs] = func(err error) { t.tellClientCAs(log, err) }
	}
	return all
}

// run reads until ctx is done.
func (r reloads) run(ctx context.Context, hangups <-chan os.Signal, log *slog.Logger) {
	for files, tell := range r {
		go files.Watch(ctx, reloadPeriod, tell)
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			if len(r) == 0 {
				log.Info("nothing to reload", "why", "neither --tls-cert nor files with keys of JWTs; keys of topics are read again when --topics-keys changes")
			}
			for files, tell := range r {
				tell(files.Reload())
			}
		}
	}()
}

func (t *tlsOptions) tellPair(log *slog.Logger, err error) {
	if err != nil {
		log.Error("certificate not reloaded, the old one stays", "err", err, "again", "until it can be read")
		return
	}
	log.Info("certificate reloaded", "file", t.certFile, "valid_until", t.pair.Certificate().Leaf.NotAfter)
}

func (t *tlsOptions) tellClientCAs(log *slog.Logger, err error) {
	if err != nil {
		log.Error("client CAs not reloaded, the old ones stay", "err", err, "again", "until they can be read")
		return
	}
	log.Info("client CAs reloaded", "file", t.clientCA)
}
