package cert_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/server/cert"
)

// TestReload: the certificate follows its files, and stays as it was while they
// are wrong, halfway renewed or gone.
func TestReload(t *testing.T) {
	f, p := loaded(t)
	expectLook(t, p, "unchanged", "first", false, nil)
	f.renew("second")
	expectLook(t, p, "renewed", "second", true, nil)
	certPEM, keyPEM := pair(t, "third", -1, 1)
	f.write(f.cert, certPEM)
	expectLook(t, p, "only the certificate is new", "second", false, errAny)
	expectLook(t, p, "and is tried again", "second", false, errAny)
	f.write(f.key, keyPEM)
	expectLook(t, p, "the key as well", "third", true, nil)
	f.write(f.cert, []byte("no PEM"))
	expectLook(t, p, "garbage", "third", false, errAny)
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	expectLook(t, p, "no key", "third", false, errAny)
	if err := p.Reload(); !errors.Is(err, fs.ErrNotExist) || nameOf(t, p) != "third" {
		t.Errorf("Reload: %v, %s", err, nameOf(t, p))
	}
	f.renew("fourth")
	if err := p.Reload(); err != nil || nameOf(t, p) != "fourth" {
		t.Errorf("Reload: %v, %s", err, nameOf(t, p))
	}
}

// TestRetried: what can not be read, or is not valid yet, is tried again without a
// change of the files, and the old one stays meanwhile.
func TestRetried(t *testing.T) {
	f, p := loaded(t)
	f.renew("second")
	content, err := os.ReadFile(f.key)
	if err != nil {
		t.Fatal(err)
	}
	stamp := f.clock
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	expectLook(t, p, "no key", "first", false, fs.ErrNotExist)
	expectLook(t, p, "still none", "first", false, fs.ErrNotExist)
	f.write(f.key, content)
	if err := os.Chtimes(f.key, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	expectLook(t, p, "the key is there", "second", true, nil)
	expectLook(t, p, "unchanged", "second", false, nil)

	certPEM, keyPEM := pairAt(t, "early", time.Now().Add(1500*time.Millisecond), time.Now().Add(time.Hour))
	f.write(f.cert, certPEM)
	f.write(f.key, keyPEM)
	expectLook(t, p, "not valid yet", "second", false, cert.ErrNotYet)
	expectLook(t, p, "not valid yet, again", "second", false, cert.ErrNotYet)
	for deadline := time.Now().Add(20 * time.Second); nameOf(t, p) == "second" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_, _ = p.ReloadIfChanged() // as expected above
	}
	if nameOf(t, p) != "early" {
		t.Error("it is valid now, and not taken")
	}
}

// TestLink: secrets that are mounted change by a symbolic link that leads
// elsewhere.
func TestLink(t *testing.T) {
	f := newFiles(t)
	dir := filepath.Dir(f.cert)
	link := filepath.Join(dir, "current")
	at := func(name string) {
		t.Helper()
		folder := filepath.Join(dir, name)
		certPEM, keyPEM := pair(t, name, -1, 1)
		if err := errors.Join(os.Mkdir(folder, 0o700), os.RemoveAll(link), os.Symlink(folder, link)); err != nil {
			t.Fatal(err)
		}
		f.write(filepath.Join(folder, "tls.crt"), certPEM)
		f.write(filepath.Join(folder, "tls.key"), keyPEM)
	}
	at("old")
	p, err := cert.Load(filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	at("new")
	if reloaded, err := p.ReloadIfChanged(); !reloaded || err != nil || nameOf(t, p) != "new" {
		t.Errorf("reloaded %v, %v, %s", reloaded, err, nameOf(t, p))
	}
}

func TestWatch(t *testing.T) {
	f, p := loaded(t)
	ctx, cancel := context.WithCancel(t.Context())
	told, over := make(chan error), make(chan struct{})
	go func() {
		p.Watch(ctx, time.Millisecond, func(err error) {
			select {
			case told <- err:
			case <-ctx.Done(): // a look between the two new files sees a change once more
			}
		})
		close(over)
	}()
	f.write(f.cert, []byte("no PEM"))
	if err := <-told; err == nil {
		t.Error("garbage was not told")
	}
	f.renew("second")
	for err := <-told; err != nil; err = <-told { // the certificate without its key, perhaps
	}
	if nameOf(t, p) != "second" {
		t.Error(nameOf(t, p))
	}
	cancel()
	<-over
}

// TestWatchTellsOnce: a failure that lasts is told once, and again when the files are
// others; then that all is well.
func TestWatchTellsOnce(t *testing.T) {
	f, p := loaded(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan error, 1000)
	go p.Watch(ctx, time.Millisecond, func(err error) { told <- err })
	quiet := func() {
		t.Helper()
		for range 20 { // it looks meanwhile
			if _, err := p.ReloadIfChanged(); err == nil {
				t.Error("it is well")
			}
			time.Sleep(2 * time.Millisecond)
		}
		if len(told) > 0 {
			t.Errorf("told more than once: %v", <-told)
		}
	}
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("told %v", err)
	}
	quiet()
	f.write(f.cert, []byte("no PEM"))
	if err := <-told; err == nil {
		t.Error("told that it is well")
	}
	f.renew("second")
	for err := <-told; err != nil; err = <-told { // one file after the other
	}
	if nameOf(t, p) != "second" {
		t.Error(nameOf(t, p))
	}
}
