package cert_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/millrace/millrace/server/cert"
)

// TestPool: authorities follow their file, and stay as they were while it is wrong.
func TestPool(t *testing.T) {
	f := newFiles(t)
	first, _ := pair(t, "first", -1, 1)
	second, _ := pair(t, "second", -1, 1)
	f.write(f.cert, first)
	p, err := cert.LoadPool(f.cert)
	if err != nil {
		t.Fatal(err)
	}
	has := func(certPEM []byte) bool {
		block, _ := pem.Decode(certPEM)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Verify(x509.VerifyOptions{Roots: p.CertPool()})
		return err == nil
	}
	for _, step := range []struct {
		name, content string
		complains     string
		first, second bool
	}{
		{"two", "# ours\n" + string(first) + "# theirs\n" + string(second), "", true, true},
		{"cut off", string(first) + string(second[:len(second)/2]), "cut off", true, true},
		{"nothing", "", "no PEM certificate", true, true},
		{"garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x509", true, true},
		{"one", string(second), "", false, true},
	} {
		f.write(f.cert, []byte(step.content))
		_, err := p.ReloadIfChanged()
		if (err != nil) != (step.complains != "") || err != nil && !strings.Contains(err.Error(), step.complains) {
			t.Errorf("%s: %v, want %q", step.name, err, step.complains)
		}
		if got1, got2 := has(first), has(second); got1 != step.first || got2 != step.second {
			t.Errorf("%s: the first counts %v, the second %v", step.name, got1, got2)
		}
	}
	if _, err := cert.LoadPool(f.cert + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
