package serve

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
	"github.com/millrace/millrace/pubsub/gateway/jwtauth"
	"github.com/millrace/millrace/pubsub/gateway/keyfile"
	gatewayprom "github.com/millrace/millrace/pubsub/gateway/prom"
	"github.com/millrace/millrace/pubsub/nats"
	natsprom "github.com/millrace/millrace/pubsub/nats/prom"
	pubsubprom "github.com/millrace/millrace/pubsub/prom"
	"github.com/millrace/millrace/server"
)

// topics are those of a server, with their gateway. nil has none, and its methods do nothing.
type topics struct {
	hub     *pubsub.Hub
	gateway *gateway.Gateway
	broker  *nats.Broker // nil: this process
	follow  bool         // readiness follows the broker
	end     context.CancelFunc
}

// begin makes the topics of a server, nil if they are off.
func (t *topicsOptions) begin(srv *server.Server, n *natsOptions, log *slog.Logger) (*topics, error) {
	if !t.on {
		return nil, nil
	}
	broker, err := n.broker(log)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	o := gateway.Options{Open: t.open, Local: t.local != nil, Cookie: t.cookie, CORS: t.cors, PublishRate: t.rate, PublishBurst: t.burst}
	if err := t.authenticators(ctx, &o, log); err != nil {
		end()
		return nil, err
	}
	limits := pubsub.Limits{History: t.history, PublishRate: t.rate, PublishBurst: t.burst, Payload: int(min(srv.Limits.Message, maxPayload))}
	options := pubsub.Options{Rules: t.rules, Limits: limits}
	if broker != nil {
		options.Broker = broker
	}
	hub, err := pubsub.New(srv, options)
	if err != nil {
		end()
		return nil, err
	}
	g, err := gateway.New(hub, o)
	if err != nil {
		end()
		_ = hub.Close() // the error is another one
		return nil, err
	}
	if broker != nil {
		warnOfPayload(broker.Stats(), limits.Payload, log)
	}
	return &topics{hub, g, broker, n.readiness, end}, nil
}

// warnOfPayload tells of messages that may come and can't be published.
func warnOfPayload(s nats.Stats, payload int, log *slog.Logger) {
	if s.Connected && s.MaxPayload < payload {
		log.Warn("NATS takes smaller messages than this server", "max_payload", s.MaxPayload, "max_message", payload, "remedy", "max_payload in the configuration of NATS, or --max-message")
	}
}

// unready says why no clients should come, "" if they may.
func (t *topics) unready() string {
	if t != nil && t.broker != nil && t.follow && !t.broker.Stats().Connected {
		return "no connection to NATS"
	}
	return ""
}

// maxPayload keeps a size within an int.
const maxPayload = 1 << 30

// authenticators reads the keys.
func (t *topicsOptions) authenticators(ctx context.Context, o *gateway.Options, log *slog.Logger) error {
	if t.keys != "" {
		keys, err := keyfile.Read(t.keys, func(err error) {
			if err != nil {
				log.Error("topic keys not reloaded, the old ones stay", "err", err)
			} else {
				log.Info("topic keys reloaded")
			}
		})
		if err != nil {
			return fmt.Errorf("--topics-keys: %w", err)
		}
		o.Auth, o.Anonymous = append(o.Auth, keys), keys.Anonymous()
	}
	if !t.jwt() {
		return nil
	}
	j := jwtauth.Options{
		Issuer: t.issuer, Audience: t.audience, NoExpiry: t.noExpiry,
		OnError: func(err error) {
			log.Warn("key set not fetched", "err", err, "stay", "the keys of the last time, if there was one")
		},
	}
	if err := t.jwtKeys(&j); err != nil {
		return err
	}
	tokens, err := jwtauth.New(ctx, j)
	if err != nil {
		return fmt.Errorf("--topics-jwt-...: %w", err)
	}
	o.Auth = append(o.Auth, tokens)
	return nil
}

// jwtKeys reads the files with keys for JWTs.
func (t *topicsOptions) jwtKeys(j *jwtauth.Options) error {
	if t.secret != "" {
		secret, err := os.ReadFile(t.secret)
		if err != nil {
			return fmt.Errorf("--topics-jwt-secret: %w", err)
		}
		j.Secrets = [][]byte{bytes.TrimSpace(secret)}
		if err := usable("topics-jwt-secret", t.secret, jwtauth.Options{Secrets: j.Secrets}); err != nil {
			return err
		}
	}
	for _, file := range t.publicKey {
		text, err := os.ReadFile(file)
		var keys []crypto.PublicKey
		if err == nil {
			keys, err = jwtauth.ParseKeys(text)
		}
		if err != nil {
			return fmt.Errorf("--topics-jwt-key %s: %w", file, err)
		}
		j.Keys = append(j.Keys, keys...)
	}
	for _, where := range t.jwks {
		if strings.Contains(where, "://") {
			j.JWKSURLs = append(j.JWKSURLs, where)
			continue
		}
		text, err := os.ReadFile(where)
		if err != nil {
			return fmt.Errorf("--topics-jwt-jwks: %w", err)
		}
		if err := usable("topics-jwt-jwks", where, jwtauth.Options{JWKS: [][]byte{text}}); err != nil {
			return err
		}
		j.JWKS = append(j.JWKS, text)
	}
	return nil
}

// usable says which flag's file is of no use. Nothing is fetched for that.
func usable(flag, file string, o jwtauth.Options) error {
	if _, err := jwtauth.New(context.Background(), o); err != nil {
		return fmt.Errorf("--%s: %s: %s", flag, file, strings.TrimPrefix(err.Error(), "jwtauth: "))
	}
	return nil
}

// register has Prometheus see the topics.
func (t *topics) register(registry *prometheus.Registry) {
	if t == nil {
		return
	}
	registry.MustRegister(pubsubprom.NewCollector(t.hub), gatewayprom.NewCollector(t.gateway))
	if t.broker != nil {
		registry.MustRegister(natsprom.NewCollector(t.broker))
	}
}

// close ends what they do by themselves.
func (t *topics) close() {
	if t == nil {
		return
	}
	t.gateway.Close()
	t.end()
	_ = t.hub.Close() // the process ends
}
