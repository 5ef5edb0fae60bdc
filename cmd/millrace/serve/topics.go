package serve

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/gateway"
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
	tokens  reloaded     // nil: no files have keys of JWTs
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
	tokens, err := t.authenticators(ctx, &o, log)
	if err != nil {
		end()
		return nil, err
	}
	limits := pubsub.Limits{
		Topics: t.perConn, AllTopics: t.most, History: t.history, Payload: int(min(srv.Limits.Message, maxPayload)),
		PublishRate: t.rate, PublishBurst: t.burst, PresenceRate: t.presenceRate, PresenceBurst: t.presenceBurst,
	}
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
	t.tellRights(&o, log)
	if broker != nil {
		warnOfPayload(broker.Stats(), limits.Payload, log)
	}
	return &topics{hub, g, broker, n.readiness, tokens, end}, nil
}

// warnOfPayload tells of messages that may come and can't be published.
func warnOfPayload(s nats.Stats, payload int, log *slog.Logger) {
	if s.Connected && s.MaxPayload < payload {
		log.Warn("NATS takes smaller messages than this server", "max_payload", s.MaxPayload, "max_message", payload, "remedy", "max_payload in the configuration of NATS, or --max-message")
	}
}

// unready says why no clients should come, "" if they may.
func (t *topics) unready() string {
	if t == nil || t.broker == nil || !t.follow {
		return ""
	}
	switch s := t.broker.Stats(); {
	case !s.Connected:
		return "no connection to NATS"
	case s.Stream != "" && !s.StreamFound:
		return "the stream " + s.Stream + " has not been found yet"
	}
	return ""
}

// maxPayload keeps a size within an int.
const maxPayload = 1 << 30

// addReloads adds the files with keys of JWTs.
func (t *topics) addReloads(all reloads, log *slog.Logger) {
	if t == nil || t.tokens == nil {
		return
	}
	all[t.tokens] = func(err error) {
		if err != nil {
			log.Error("keys of JWTs not reloaded, the old ones stay", "err", err, "again", "until they can be read")
			return
		}
		log.Info("keys of JWTs reloaded")
	}
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
