package nats

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Interest is how a node tells NATS which messages it wants.
type Interest uint8

const (
	// ByTopic is a subscription for each topic and filter with subscribers on the node: it gets
	// nothing else. Each server of NATS holds each of them.
	ByTopic Interest = iota
	// ByPartition is at most 1,024 subscriptions, to which topics belong by a hash, and one for each
	// filter: for very many topics. The subject of a topic then has the partition before it:
	// FNV-1a (32 bits) of the rest, modulo 1,024. All nodes must have it alike.
	ByPartition
	// All is one subscription: the node gets everything. For few nodes, or when most messages are
	// wanted on each.
	All
)

// Options are a broker's.
type Options struct {
	// URLs are the servers to connect to, in any order; none is nats://127.0.0.1:4222. Further
	// servers of their cluster are found by themselves.
	URLs []string
	// Name is what the servers show of this connection; "" is "millrace".
	Name string
	// TLS, if not nil, is how to speak TLS. Credentials is a file with a JWT and its key, NKey one with
	// the seed of an nkey, which are read for each connection, Token a token; URLs may have user and password in
	// them, which come before User and Password.
	TLS            *tls.Config
	Credentials    string
	NKey           string
	User, Password string
	Token          string
	// Retry has Start succeed while no server can be reached, or JetStream does not answer: the broker then goes on trying. Topics that the
	// stream does not have live as soon as there is a connection. What waiting does not mend, such as a wrong password, or that JetStream refuses
	// the stream, is an error all the same.
	Retry bool
	// Prefix stands before all subjects, with a dot between them. Without one, a subscription to "#" gets
	// all messages of the NATS account whose subjects are topics'.
	Prefix string
	// Interest is how messages are chosen.
	Interest Interest
	// Linger is how long a node stays subscribed to a topic, or a filter, that nobody is subscribed to any more; 0
	// is 30 s. At most 10,000 topics linger, or as many as have subscribers, and 1,000 filters: those that have lingered for longest go early.
	Linger time.Duration
	// Pending is how many messages wait for this node to pass them on; 0 is 65,536. A node with
	// so many is too slow: it drops them and goes on with those that come then.
	Pending int
	// Stream, if not nil, has JetStream keep the messages of some topics.
	Stream *Stream
	// Logger gets what happens; nil is slog.Default().
	Logger *slog.Logger
}

// Errors of Publish.
var (
	// ErrDisconnected: the node has no connection to NATS. Nobody gets the message.
	ErrDisconnected = errors.New("nats: no connection to a server")
	// ErrNoStream: JetStream does not answer, has no leader for the stream, or has not had one since the broker has started. Nobody gets the
	// message.
	ErrNoStream = errors.New("nats: the stream takes no messages")
)

// Validate says which option can not work, without connecting.
func (o Options) Validate() error {
	_, err := o.filled()
	return err
}

// filled gives the options with their defaults, or says what can not work.
func (o Options) filled() (Options, error) {
	o.Name, o.Linger, o.Pending = cmp.Or(o.Name, "millrace"), cmp.Or(o.Linger, 30*time.Second), cmp.Or(o.Pending, 1<<16)
	if len(o.URLs) == 0 {
		o.URLs = []string{nats.DefaultURL}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch {
	case o.Interest > All:
		return o, fmt.Errorf("nats: Options.Interest: there is no %d", o.Interest)
	case o.Linger < 0 || o.Pending < 16:
		return o, errors.New("nats: Options.Linger is 0 or more, Pending 0 or 16 or more")
	case o.Prefix != "" && (strings.ContainsAny(o.Prefix, "*> \t\r\n") || strings.Contains("."+o.Prefix+".", "..") || strings.HasPrefix(o.Prefix, "$") || strings.HasPrefix(o.Prefix, "_")):
		return o, fmt.Errorf("nats: Options.Prefix: %q is no subject without wildcards, or begins with $ or _", o.Prefix)
	}
	if o.Prefix != "" {
		o.Prefix += "."
	}
	if o.Stream == nil {
		return o, nil
	}
	s, err := o.Stream.filled(o.Prefix)
	o.Stream = &s
	return o, err
}

// connecting are the options of a connection. Reconnecting is ours: a session of the broker is
// one connection, so that what comes behind a gap is told from what came before.
func (o *Options) connecting() ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name(o.Name), nats.NoEcho(), nats.NoReconnect(),
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2), nats.Timeout(connectTimeout), nats.FlusherTimeout(writeTimeout),
	}
	if o.TLS != nil {
		options = append(options, nats.Secure(o.TLS))
	}
	if o.User != "" {
		options = append(options, nats.UserInfo(o.User, o.Password))
	}
	if o.Token != "" {
		options = append(options, nats.Token(o.Token))
	}
	if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	if o.NKey != "" {
		key, err := nats.NkeyOptionFromSeed(o.NKey)
		if err != nil {
			return nil, fmt.Errorf("nats: Options.NKey: %w", err)
		}
		options = append(options, key)
	}
	return options, nil
}
