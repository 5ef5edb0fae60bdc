package serve

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// config is all that can be set from outside, in groups: each has its flags, and
// what they do to the server, in a file flags_*.go of its own.
type config struct {
	listen   listenOptions
	log      logOptions
	tls      tlsOptions
	balancer balancerOptions
	admin    adminOptions
	limits   limitOptions
	timeouts timeoutOptions
	http     httpOptions
	deflate  deflateOptions
	drain    drainOptions
	loops    loopOptions
	topics   topicsOptions
	nats     natsOptions

	values flags.Values
}

// group is some of the settings. apply sets up what they mean for the server, and
// reports what only shows in settings together.
type group interface {
	options() []flags.Option
	apply(*server.Server) error
}

// section is a group with its heading in the help.
type section struct {
	title string
	group group
}

// sections are all settings of c, in the order of the help.
func (c *config) sections() []section {
	return []section{
		{"Addresses, origins and hosts", &c.listen},
		{"Topics", &c.topics},
		{"Topics over many nodes", &c.nats},
		{"TLS and HTTP/2", &c.tls},
		{"Behind a balancer", &c.balancer},
		{"Admin address and metrics", &c.admin},
		{"Log", &c.log},
		{"Limits and queues", &c.limits},
		{"Timeouts and keepalive", &c.timeouts},
		{"Plain HTTP", &c.http},
		{"Compression", &c.deflate},
		{"Drain", &c.drain},
		{"Event loops", &c.loops},
	}
}

const (
	maxTime = 366 * 24 * time.Hour // as in server
	minTime = time.Millisecond
	noMost  = math.MaxInt // for numbers that only the server bounds

	maxBytes = 1 << 60 // far from where sums of sizes overflow; the server bounds them too
)

// flagSet are the flags of all groups, each with its environment variable.
func (c *config) flagSet() *flags.Set {
	set := &flags.Set{
		Command: "millrace serve", About: about, Notes: statuses,
		Prefix: "MILLRACE_", Foreign: isForeign, Elsewhere: elsewhere, Check: c.check,
	}
	for _, s := range c.sections() {
		set.Groups = append(set.Groups, flags.Group{Title: s.title, Options: s.group.options()})
	}
	return set
}

// elsewhere tells who looks for a file of flags that there is none.
func elsewhere(name string) string {
	if slices.Contains([]string{"config", "config-file", "configuration", "conf"}, strings.ToLower(name)) {
		return "there is no configuration file: give flags, or variables MILLRACE_..."
	}
	return ""
}

const about = `Runs a WebSocket server with a page to try it in a browser at /, an echo at /echo,
and /healthz and /readyz for balancers. SIGTERM or SIGINT drains and ends it; one
more, a second later, stops it at once.`

const statuses = `
Exit status:
  0  it was told to end, and has drained
  1  it could not serve, or was stopped at once by a second signal
  2  wrong flags or variables
`

// check keeps the values, and reports settings that can not be meant together, where a
// group has such.
func (c *config) check(values flags.Values) error {
	c.values = values
	if sameAddress(c.listen.address, c.admin.address) {
		return fmt.Errorf("--listen and --admin are the same address, %s and %s: want two", c.listen.address, c.admin.address)
	}
	for _, s := range c.sections() {
		if checked, ok := s.group.(interface{ check(flags.Values) error }); ok {
			if err := checked.check(values); err != nil {
				return err
			}
		}
	}
	return nil
}

// server is a server.Server set up as c says, and found to work.
func (c *config) server() (*server.Server, error) {
	s := &server.Server{}
	for _, section := range c.sections() {
		if err := section.group.apply(s); err != nil {
			return nil, err
		}
	}
	return s, c.inFlags(s.Validate())
}
