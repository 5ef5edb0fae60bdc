package serve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/pubsub"
	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// topicsOptions are the topics at /topics, and who may do what with them.
type topicsOptions struct {
	on        bool
	rules     []pubsub.Rule
	history   int64
	keys      string
	secrets   []string
	publicKey []string
	jwks      []string
	issuer    string
	audience  string
	noExpiry  bool
	open      bool
	cookie    string
	cors      []string
	rate      int
	burst     int

	most, perConn               int
	presenceRate, presenceBurst int

	local []string // everything is open, to those who ask for these hosts; nil: it is not
}

func (t *topicsOptions) options() []flags.Option {
	expiries := map[string]bool{"required": false, "optional": true}
	return []flags.Option{
		switchedOn("topics", "publish and subscribe at /topics, by WebSockets, event streams and plain\nrequests; off", &t.on),
		flags.New("topics-rule", "RULE", "what topics keep and tell: FILTER messages=N age=TIME bytes=SIZE presence policy=POLICY, where POLICY is\n"+
			"close, drop-newest or drop-oldest (repeatable, or separated by semicolons): the first rule whose\n"+
			"filter meets a topic is its; without one it keeps nothing", "", topicRules(&t.rules)).Listed(),
		flags.New("topics-history", "SIZE", "memory of all that topics keep; beyond it the oldest messages go, of the largest topics first", "64MiB", flags.Size(&t.history, 0, maxBytes)),
		flags.New("topics-max", "N", "topics with subscribers or a history, in all; subscribing to one more, or publishing to one that would\nkeep its first message, is refused; off is no bound", "1000000", flags.OrOff(&t.most, flags.Whole(&t.most, 0, 1<<30))),
		flags.New("topics-per-conn", "N", "topics and filters of a connection; one more is refused; off is no bound", "1000", flags.OrOff(&t.perConn, flags.Whole(&t.perConn, 0, 1<<30))),
		flags.New("topics-keys", "FILE", "file in YAML with the hashes of keys, and what each may; read again when it changes", "", flags.Text(&t.keys)).Once(),
		flags.New("topics-jwt-secret", "FILE", "file with a secret of 32 bytes or more that verifies JWTs by HMAC; read again on SIGHUP and when it\nchanges (repeatable)", "", flags.Texts(&t.secrets)).Listed(),
		flags.New("topics-jwt-key", "FILE", "file in PEM with public keys or certificates that verify JWTs by RSA, ECDSA or Ed25519;\nread again likewise (repeatable)", "", flags.Texts(&t.publicKey)).Listed(),
		flags.New("topics-jwt-jwks", "WHERE", "JSON Web Key Set that verifies JWTs: a file, read again likewise, or an https URL, which is fetched\neach hour and for new keys (repeatable)", "", keySet(&t.jwks)).Listed(),
		flags.New("topics-jwt-issuer", "TEXT", "the iss that JWTs must have", "", flags.Text(&t.issuer)).Once(),
		flags.New("topics-jwt-audience", "TEXT", "the aud that JWTs must have", "", flags.Text(&t.audience)).Once(),
		flags.New("topics-jwt-expiry", "MODE", "required: a JWT without exp is refused; optional", "required", flags.Choice(&t.noExpiry, expiries, "required", "optional")),
		switchedOn("topics-open", "everybody who can connect may do everything with the topics; off", &t.open),
		flags.New("topics-cookie", "NAME", "cookie that may bring the token of a browser; it counts only together with an Origin that may connect", "", cookieName(&t.cookie)).Once(),
		flags.New("topics-cors", "ORIGINS", "pages of other origins that may use the topics, separated by commas (repeatable), as of --origin", "", flags.List(&t.cors, origin)).Listed(),
		flags.New("topics-publish-rate", "N", "messages a second that a WebSocket publishes, or by plain requests a user or an address; more are\nrefused; 0 is no bound", "0", flags.Whole(&t.rate, 0, 1<<30)),
		flags.New("topics-publish-burst", "N", "messages at once under topics-publish-rate; 0 is a second's worth", "0", flags.Whole(&t.burst, 0, 1<<30)),
		flags.New("topics-presence-rate", "N", "topics with presence a second that a connection leaves and may still subscribe to one; off is no bound", "10", flags.OrOff(&t.presenceRate, flags.Whole(&t.presenceRate, 0, 1<<30))),
		flags.New("topics-presence-burst", "N", "such topics at once", "100", flags.Whole(&t.presenceBurst, 0, 1<<30)),
	}
}

// authenticates says whether tokens are asked for.
func (t *topicsOptions) authenticates() bool { return t.keys != "" || t.jwt() }

func (t *topicsOptions) jwt() bool {
	return len(t.secrets) > 0 || len(t.publicKey) > 0 || len(t.jwks) > 0
}

func (t *topicsOptions) check(v flags.Values) error {
	if err := needs("topics", t.on, t.options(), v); err != nil || !t.on {
		return err
	}
	if err := t.checkRules(v["topics-rule"].Source); err != nil {
		return err
	}
	switch {
	case t.burst > 0 && t.rate == 0:
		return fmt.Errorf("%s says nothing without --topics-publish-rate", v["topics-publish-burst"].Source)
	case t.open && t.authenticates():
		return fmt.Errorf("%s lets everybody do everything, so tokens say nothing: leave out either it or --topics-keys and the flags of JWTs", v["topics-open"].Source)
	case !t.jwt() && (t.issuer != "" || t.audience != "" || t.noExpiry):
		return errors.New("--topics-jwt-issuer, --topics-jwt-audience and --topics-jwt-expiry say nothing without --topics-jwt-secret, --topics-jwt-key or --topics-jwt-jwks")
	case t.cookie != "" && !t.authenticates():
		return fmt.Errorf("%s says nothing without --topics-keys, --topics-jwt-secret, --topics-jwt-key or --topics-jwt-jwks", v["topics-cookie"].Source)
	case t.cookie != "" && anyPage(v) != "":
		return fmt.Errorf("with %s and %s any page could act for its visitors: list the origins", v["topics-cookie"].Source, anyPage(v))
	case t.open || t.authenticates():
		return nil
	}
	if why := exposed(v); why != "" {
		return fmt.Errorf("--topics: who may publish and subscribe must be said, since %s: with --topics-keys, or --topics-jwt-secret, --topics-jwt-key "+
			"or --topics-jwt-jwks, or --topics-open, which lets everybody do everything", why)
	}
	t.local = []string{"localhost", "127.0.0.1", "[::1]"}
	host, _, _ := net.SplitHostPort(v["listen"].Text) // it is a loopback address
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		t.local = append(t.local, host)
	}
	return nil
}

// checkRules says which rule can not work.
func (t *topicsOptions) checkRules(source string) error {
	for i, rule := range t.rules {
		if strings.HasPrefix(rule.Filter, "$") {
			return fmt.Errorf("%s: no rule can be for %s: topics that begin with $ are the server's own, and keep nothing", source, rule.Filter)
		}
		for _, before := range t.rules[:i] {
			if pubsub.Covers(before.Filter, rule.Filter) {
				return fmt.Errorf("%s: the rule for %s never counts, since the one for %s comes before it and has all its topics: put it behind", source, rule.Filter, before.Filter)
			}
		}
	}
	return nil
}

// exposed says why others than this machine's users could come; "" if they can not.
func exposed(v flags.Values) string {
	switch listen := v["listen"].Text; {
	case !isLoopback(listen):
		return fmt.Sprintf("--listen %s is no loopback address", listen)
	case !v["trusted-proxies"].ByDefault || v["proxy-protocol"].Text != "off":
		return "a proxy is trusted, and others come through it"
	}
	if given := anyPage(v); given != "" {
		return given + " lets pages from anywhere in"
	}
	for text := range strings.SplitSeq(v["host"].Text, ",") {
		text = strings.TrimSpace(text)
		if p, err := ws.ParseHostPattern(text); err == nil && p.AnyHost() {
			return v["host"].Source + " " + text + " lets pages from anywhere in, whose names can be made to point here"
		}
	}
	return ""
}

// anyPage is the setting by which pages that anybody can make may connect; "" if there is none.
func anyPage(v flags.Values) string {
	for _, from := range []flags.Value{v["origin"], v["topics-cors"]} {
		for text := range strings.SplitSeq(from.Text, ",") {
			text = strings.TrimSpace(text)
			if p, err := ws.ParseOriginPattern(text); err == nil && p.AnyPage() {
				return from.Source + " " + text
			}
		}
	}
	return ""
}

// isLoopback says whether only this machine can connect to an endpoint, as far as its text shows it.
func isLoopback(endpoint string) bool {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return false // unix:PATH is for a proxy, and fd:N may be anything
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (t *topicsOptions) apply(s *server.Server) error {
	if !t.on {
		return nil
	}
	s.EventStreams = true
	s.Origin.Allow = append(slices.Clip(s.Origin.Allow), t.cors...)
	if len(s.Origin.Hosts) == 0 {
		s.Origin.Hosts = t.local // or a page whose name points here is of the same origin
	}
	return nil
}

// topicRules are one or more rules.
func topicRules(to *[]pubsub.Rule) flags.Setter {
	return func(text string) error {
		for one := range strings.SplitSeq(text, ";") {
			rule, err := topicRule(strings.Fields(one))
			if err != nil {
				return err
			}
			*to = append(*to, rule)
		}
		return nil
	}
}

func topicRule(words []string) (r pubsub.Rule, err error) {
	wrong := errors.New("a rule such as 'rooms/# messages=100 age=1h bytes=1MiB presence policy=drop-oldest', with a filter and one setting or more")
	if len(words) < 2 {
		return r, wrong
	}
	if r.Filter = words[0]; pubsub.CheckFilter(r.Filter) != nil {
		return r, fmt.Errorf("a filter such as rooms/# or rooms/+/news at the rule's beginning, not %s", r.Filter)
	}
	if len(r.Filter) > 256 || strings.Count(r.Filter, "/") >= 16 { // as pubsub.Limits has it
		return r, errors.New("a filter of at most 256 bytes and 16 levels at the rule's beginning")
	}
	policies := map[string]server.QueuePolicy{"close": server.CloseWhenFull, "drop-newest": server.DropNewest, "drop-oldest": server.DropOldest}
	kinds := map[string]flags.Setter{
		"messages": flags.Whole(&r.Messages, 1, 1_000_000), "age": flags.Duration(&r.Age, time.Second, maxTime), "bytes": flags.Size(&r.Bytes, 1, maxBytes),
		"policy": flags.Choice(&r.Policy, policies, "close", "drop-newest", "drop-oldest"),
	}
	err = settings(words[1:], kinds, func(word string) error {
		if word != "presence" {
			return fmt.Errorf("a rule such as 'rooms/# messages=100 age=1h bytes=1MiB presence policy=drop-oldest', which has nothing like %q", word)
		}
		r.Presence = true
		return nil
	})
	if err != nil {
		return r, err
	}
	if r.Messages == 0 && (r.Age > 0 || r.Bytes > 0) {
		return r, errors.New("messages=N beside age and bytes: without it nothing is kept")
	}
	return r, nil
}

// keySet is a file, or a URL.
func keySet(to *[]string) flags.Setter {
	return func(text string) error {
		if isURL(text) {
			u, err := url.Parse(text)
			if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(net.JoinHostPort(u.Hostname(), "0"))) {
				return errors.New("a file, or a URL with https, or with http at a loopback address: whoever changes the keys on the way is let in")
			}
		}
		*to = append(*to, text)
		return nil
	}
}

// cookieName is the name of a cookie (RFC 6265 section 4.1.1).
func cookieName(to *string) flags.Setter {
	return func(text string) error {
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
			return errors.New("a cookie's name such as session")
		}
		*to = text
		return nil
	}
}
