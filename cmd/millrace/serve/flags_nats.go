package serve

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/pubsub/nats"
	"github.com/millrace/millrace/server"
)

// natsOptions bring the topics to many nodes.
type natsOptions struct {
	urls      []string
	prefix    string
	interest  nats.Interest
	stream    *nats.Stream
	wait      bool
	readiness bool

	ca, cert, key       string
	creds, nkey         string
	user                string
	password, tokenFile string
}

func (n *natsOptions) options() []flags.Option {
	interests := map[string]nats.Interest{"topic": nats.ByTopic, "partition": nats.ByPartition, "all": nats.All}
	return []flags.Option{
		flags.New("nats", "URLS", "servers of NATS, over which all nodes with the same ones have the same topics, separated by commas\n"+
			"(repeatable), as nats://10.0.0.1:4222 or tls://nats.example.com:4222", "", flags.List(&n.urls, natsURL)).Listed(),
		flags.New("nats-prefix", "SUBJECT", "stands before the subjects of all topics; none: topics are subjects of the account as they are", "millrace", natsPrefix(&n.prefix)).Once(),
		flags.New("nats-interest", "WAY", "topic: a node subscribes to each topic that it needs; partition: to those of 1,024 parts that they are\nin; all: to everything. All nodes have it alike", "topic",
			flags.Choice(&n.interest, interests, "topic", "partition", "all")),
		flags.New("nats-stream", "STREAM", "a stream of JetStream that keeps messages for all nodes, which creates it if there is none: NAME FILTER...\n"+
			"messages=N age=TIME bytes=SIZE replicas=N memory", "", natsStream(&n.stream)).Once(),
		switchedOn("nats-wait", "start while no server of NATS can be reached, or JetStream does not answer, and go on trying; off: end", &n.wait),
		switchedOn("nats-ready", "/readyz fails while there is no connection to NATS, and until the stream was found; off", &n.readiness),
		flags.New("nats-ca", "FILE", "PEM file with the certificates that those of NATS must be signed by, in place of the system's", "", flags.Text(&n.ca)).Once(),
		flags.New("nats-cert", "FILE", "certificate to show to NATS, a PEM file; read again for each connection", "", flags.Text(&n.cert)).Once(),
		flags.New("nats-key", "FILE", "the certificate's key, a PEM file", "", flags.Text(&n.key)).Once(),
		flags.New("nats-creds", "FILE", "credentials for NATS, a file with a JWT and its key; read again for each connection", "", flags.Text(&n.creds)).Once(),
		flags.New("nats-nkey", "FILE", "file with the seed of an nkey that NATS knows", "", flags.Text(&n.nkey)).Once(),
		flags.New("nats-user", "NAME", "user that NATS knows", "", flags.Text(&n.user)).Once(),
		flags.New("nats-password-file", "FILE", "file with the password of --nats-user", "", flags.Text(&n.password)).Once(),
		flags.New("nats-token-file", "FILE", "file with a token that NATS knows", "", flags.Text(&n.tokenFile)).Once(),
	}
}

func (n *natsOptions) on() bool { return len(n.urls) > 0 }

func (n *natsOptions) check(v flags.Values) error {
	if err := needs("nats", n.on(), n.options(), v); err != nil || !n.on() {
		return err
	}
	ways := 0
	for _, way := range []string{n.creds, n.nkey, n.user, n.tokenFile} {
		if way != "" {
			ways++
		}
	}
	switch {
	case v["topics"].Text != "on":
		return fmt.Errorf("%s says nothing without --topics", v["nats"].Source)
	case (n.cert == "") != (n.key == ""):
		return errors.New("--nats-cert and --nats-key: a certificate needs both files")
	case (n.user == "") != (n.password == ""):
		return errors.New("--nats-user and --nats-password-file: want both")
	case ways > 1:
		return errors.New("--nats-creds, --nats-nkey, --nats-user and --nats-token-file: want one of them")
	}
	if n.stream != nil && n.prefix == "" && slices.ContainsFunc(n.stream.Topics, func(f string) bool { return f[0] == '+' || f[0] == '#' }) {
		return fmt.Errorf("%s: with --nats-prefix none a filter that begins with a wildcard would take all subjects of the account", v["nats-stream"].Source)
	}
	return nil
}

func (n *natsOptions) apply(*server.Server) error { return nil }

// broker makes the broker, nil if there is none. It reads the files.
func (n *natsOptions) broker(log *slog.Logger) (*nats.Broker, error) {
	if !n.on() {
		return nil, nil
	}
	o := nats.Options{
		URLs: n.urls, Prefix: n.prefix, Interest: n.interest, Stream: n.stream, Retry: n.wait, Logger: log,
		Credentials: n.creds, NKey: n.nkey, User: n.user,
	}
	for _, secret := range []struct {
		flag, file string
		to         *string
	}{{"--nats-password-file", n.password, &o.Password}, {"--nats-token-file", n.tokenFile, &o.Token}} {
		if secret.file == "" {
			continue
		}
		text, err := os.ReadFile(secret.file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", secret.flag, err)
		}
		if *secret.to = string(bytes.TrimSpace(text)); *secret.to == "" {
			return nil, fmt.Errorf("%s: %s is empty", secret.flag, secret.file)
		}
	}
	for flag, file := range map[string]string{"--nats-creds": n.creds, "--nats-nkey": n.nkey} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
	}
	var err error
	if o.TLS, err = n.tls(); err != nil {
		return nil, err
	}
	return nats.New(o), nil
}

// tls is how to speak TLS; nil: as the URLs and the servers say.
func (n *natsOptions) tls() (*tls.Config, error) {
	if n.ca == "" && n.cert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if n.ca != "" {
		text, err := os.ReadFile(n.ca)
		if err != nil {
			return nil, fmt.Errorf("--nats-ca: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--nats-ca: %s has no certificate in PEM", n.ca)
		}
	}
	if n.cert == "" {
		return config, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(n.cert, n.key)
		return &pair, err
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("--nats-cert, --nats-key: %w", err)
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return config, nil
}

// natsURL is one of a server of NATS.
func natsURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return "", errors.New("URLs such as nats://10.0.0.1:4222, tls://me:password@nats.example.com:4222, or with ws or wss")
	}
	return text, nil
}

// natsPrefix is the beginning of subjects, "none" is none.
func natsPrefix(to *string) flags.Setter {
	return func(text string) error {
		if text == "none" {
			*to = ""
			return nil
		}
		if text == "" || (nats.Options{Prefix: text}).Validate() != nil {
			return errors.New("a subject such as app or app.live, without wildcards and spaces, and with no $ or _ at its beginning; or none")
		}
		*to = text
		return nil
	}
}

// natsStream is a stream.
func natsStream(to **nats.Stream) flags.Setter {
	return func(text string) error {
		words := strings.Fields(text)
		if len(words) < 2 {
			return errors.New("a stream such as 'ROOMS rooms/# messages=1000 age=24h bytes=10GiB replicas=3 memory', with a name and one filter or more")
		}
		s := nats.Stream{Name: words[0]}
		kinds := map[string]flags.Setter{
			"messages": flags.Whole(&s.Messages, 1, noMost), "age": flags.Duration(&s.Age, time.Second, maxTime), "bytes": flags.Size(&s.Bytes, 1, maxBytes),
			"replicas": flags.Whole(&s.Replicas, 1, 5),
		}
		err := settings(words[1:], kinds, func(word string) error {
			switch {
			case word == "memory":
				s.Memory = true
			case strings.Contains(word, "=") || pubsub.CheckFilter(word) != nil:
				return fmt.Errorf("a filter such as rooms/#, or messages=N, age=TIME, bytes=SIZE, replicas=N or memory, not %s", word)
			default:
				s.Topics = append(s.Topics, word)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := (nats.Options{Prefix: "p", Stream: &s}).Validate(); err != nil {
			return fmt.Errorf("a stream with a name of letters, digits, - and _, and filters of topics (%w)", err)
		}
		*to = &s
		return nil
	}
}
