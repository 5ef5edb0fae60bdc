package cert_test

import (
	"crypto/tls"
	"testing"

	"github.com/millrace/millrace/server/cert"
)

// TestMutual: a session is resumed as long as its client's authority counts, whatever
// is read anew meanwhile, and the client does not get in any more when it is out.
func TestMutual(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		f, p := loaded(t)
		clientPEM, clientKey := pair(t, "client", -1, 1)
		otherPEM, _ := pair(t, "other", -1, 1)
		authorities := f.cert + ".clients"
		f.write(authorities, clientPEM)
		pool, err := cert.LoadPool(authorities)
		if err != nil {
			t.Fatal(err)
		}
		asking := &tls.Config{GetConfigForClient: cert.NewMutual(&tls.Config{MaxVersion: version}, p, pool).GetConfigForClient}
		own, err := tls.X509KeyPair(clientPEM, clientKey)
		if err != nil {
			t.Fatal(err)
		}
		client := &tls.Config{
			InsecureSkipVerify: true, Certificates: []tls.Certificate{own}, ServerName: "server",
			ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
		expect := func(step string, in, resumed bool) {
			t.Helper()
			state, err := connect(asking, client)
			if (err == nil) != in || err == nil && state.DidResume != resumed {
				t.Errorf("%s, %s: %v, resumed %v; want in %v, resumed %v", tls.VersionName(version), step, err, state.DidResume, in, resumed)
			}
		}
		expect("first", true, false)
		expect("again", true, true)
		f.write(authorities, append(otherPEM, clientPEM...))
		if err := pool.Reload(); err != nil {
			t.Fatal(err)
		}
		expect("one more authority", true, true)
		f.renew("renewed")
		if err := p.Reload(); err != nil {
			t.Fatal(err)
		}
		expect("another certificate", true, true)
		f.write(authorities, otherPEM)
		if err := pool.Reload(); err != nil {
			t.Fatal(err)
		}
		expect("its authority is out", false, false)
	}
}
