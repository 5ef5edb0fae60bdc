package serve

import "github.com/millrace/millrace/server"

// balancerOptions are what stands between the clients and the server.
type balancerOptions struct {
	admin string
}

func (b *balancerOptions) options() []option {
	return []option{
		{"admin", "HOST:PORT", "TCP address that answers /healthz and /readyz whatever the main one is at;\n" +
			"keep it from the public", "", address(&b.admin)},
	}
}

func (b *balancerOptions) apply(*server.Server) error { return nil }
