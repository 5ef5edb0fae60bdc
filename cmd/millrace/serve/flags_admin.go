package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/flags"
	"github.com/millrace/millrace/server"
)

// adminOptions are the operator's address, and where the metrics are.
type adminOptions struct {
	address   string
	mode      fs.FileMode
	tokenFile string
	hosts     []string
	metrics   string

	token *token // nil: nobody has to say one
}

// Where /metrics is answered.
const (
	metricsAuto   = "auto"
	metricsPublic = "public"
	metricsOff    = "off"
)

const defaultAdminMode = "0600"

func (a *adminOptions) options() []flags.Option {
	return []flags.Option{
		flags.New("admin", "ADDRESS", "HOST:PORT, unix:PATH or fd:N, that answers /healthz, /readyz, /metrics and all below /debug/ whatever\n"+
			"the main one is at; keep it on loopback or a private network", "", endpoint(&a.address)).Once(),
		flags.New("admin-mode", "MODE", "permissions of the socket's file of --admin unix:PATH, in octal: who may write may connect", defaultAdminMode, permissions(&a.mode)),
		flags.New("admin-token-file", "FILE", "file with a token that /metrics and all below /debug/ on the admin address want, as\n"+
			"Authorization: Bearer TOKEN or, in a browser, as the password of any user; read again when it changes", "", flags.Text(&a.tokenFile)).Once(),
		flags.New("admin-host", "NAMES", "names by which /metrics and all below /debug/ may be asked for besides IP addresses and localhost,\n"+
			"separated by commas (repeatable), as admin.example.com", "", flags.List(&a.hosts, hostName)).Listed(),
		flags.New("metrics", "WHERE", "auto: /metrics is on the admin address, or on the main one if there is no other; public: on both;\n"+
			"off: nowhere", metricsAuto, flags.Name(&a.metrics, []string{metricsAuto, metricsPublic, metricsOff})),
	}
}

func (a *adminOptions) check(v flags.Values) error {
	switch {
	case a.tokenFile != "" && a.address == "":
		return fmt.Errorf("%s says nothing without --admin", v["admin-token-file"].Source)
	case a.mode != 0o600 && !strings.HasPrefix(a.address, unixPrefix):
		return fmt.Errorf("%s says nothing without --admin unix:PATH", v["admin-mode"].Source)
	}
	return nil
}

func (a *adminOptions) apply(*server.Server) (err error) {
	if a.tokenFile != "" {
		if a.token, err = readToken(a.tokenFile); err != nil {
			return err
		}
	}
	return nil
}

// warn tells of an address that others than the operator may reach.
func (a *adminOptions) warn(log *slog.Logger, addr net.Addr) {
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && a.token == nil {
		log.Warn("the admin address is open to whoever reaches it", "address", addr.String(),
			"remedy", "--admin-token-file, or a loopback address")
	}
}

// publicMetrics are what the main address answers as /metrics; nil: it does not.
func (a *adminOptions) publicMetrics(registry *prometheus.Registry, log *slog.Logger) http.Handler {
	if a.metrics == metricsPublic || a.metrics == metricsAuto && a.address == "" {
		return scrapeHost(metricsPage(registry, log), a.hosts)
	}
	return nil
}

// hostName is a value that Host may have, less its port.
func hostName(text string) (string, error) {
	if text == "" || strings.ContainsAny(text, ":/@*?#[]\\ \t\"") {
		return "", errors.New("names such as admin.example.com, without a scheme, a port or a path")
	}
	return text, nil
}
