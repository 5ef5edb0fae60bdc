package serve

import (
	"context"
	"log/slog"
	"os"
	"time"
)

// certPeriod is how often the files are looked at.
const certPeriod = 5 * time.Second

// reloaded is what is read again.
type reloaded interface {
	Reload() error
	Watch(ctx context.Context, period time.Duration, tell func(error))
}

// renew reads the certificate, and the authorities of clients, again on SIGHUP and when
// their files change, and what can not be read until it can, until ctx is done. Without
// a certificate SIGHUP changes nothing.
func (t *tlsOptions) renew(ctx context.Context, hangups <-chan os.Signal, log *slog.Logger) {
	tells := map[reloaded]func(error){}
	if t.pair != nil {
		tells[t.pair] = func(err error) { t.tellPair(log, err) }
	}
	if t.clientCAs != nil {
		tells[t.clientCAs] = func(err error) { t.tellClientCAs(log, err) }
	}
	for files, tell := range tells {
		go files.Watch(ctx, certPeriod, tell)
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			if len(tells) == 0 {
				log.Info("nothing to reload", "why", "no --tls-cert; keys of topics are read again when --topics-keys changes, and those of JWTs at the start alone")
			}
			for files, tell := range tells {
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
