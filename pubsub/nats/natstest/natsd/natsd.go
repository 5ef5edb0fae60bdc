// Package natsd is nats-server, for programs that are to be it when they are started as a process of their own.
package natsd

import (
	"flag"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Run is nats-server with these arguments, as its own main does it. It returns when the server has ended.
func Run(args []string) error {
	set := flag.NewFlagSet("nats-server", flag.ExitOnError)
	options, err := natsserver.ConfigureOptions(set, args, func() {}, set.Usage, func() {})
	if err != nil {
		return err
	}
	server, err := natsserver.NewServer(options)
	if err != nil {
		return err
	}
	server.ConfigureLogger()
	if err := natsserver.Run(server); err != nil {
		return err
	}
	server.WaitForShutdown()
	return nil
}
