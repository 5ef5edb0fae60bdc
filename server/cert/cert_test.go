package cert_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/server/cert"
)

func TestLoadErrors(t *testing.T) {
	good, goodKey := pair(t, "good", -1, 1)
	expired, expiredKey := pair(t, "expired", -2, -1)
	early, earlyKey := pair(t, "early", 1, 2)
	_, otherKey := pair(t, "other", -1, 1)
	for _, test := range []struct {
		name              string
		certPEM, keyPEM   []byte
		is                error
		want              string
		noCertificateFile bool
	}{
		{name: "no file", certPEM: good, keyPEM: goodKey, noCertificateFile: true, is: fs.ErrNotExist, want: "cert.pem"},
		{name: "no PEM", certPEM: []byte("x"), keyPEM: goodKey, want: "cert.pem"},
		{name: "the key of another", certPEM: good, keyPEM: otherKey, want: "does not match"},
		{name: "swapped", certPEM: goodKey, keyPEM: good, want: "switched"},
		{name: "expired", certPEM: expired, keyPEM: expiredKey, is: cert.ErrExpired, want: "expired on "},
		{name: "not yet", certPEM: early, keyPEM: earlyKey, is: cert.ErrNotYet, want: "not valid yet before "},
	} {
		f := newFiles(t)
		f.write(f.cert, test.certPEM)
		f.write(f.key, test.keyPEM)
		if test.noCertificateFile {
			if err := os.Remove(f.cert); err != nil {
				t.Fatal(err)
			}
		}
		p, err := cert.Load(f.cert, f.key)
		if p != nil || err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %v; want %v with %q", test.name, p, err, test.is, test.want)
		}
	}
}
