//go:build unix

package main_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestNoPermission listens on port 1 as a user without rights.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	free, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err == nil && strings.TrimSpace(string(free)) < "1" {
		t.Skip("on this machine every user may listen on every port (net.ipv4.ip_unprivileged_port_start is 0)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, nil, "serve", "--listen", "127.0.0.1:1")
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	stdout, stderr, status := finish(t, cmd)
	expectCannotListen(t, stdout, stderr, status, "--listen 127.0.0.1:1: no permission")
}

func TestDescriptorLimit(t *testing.T) {
	t.Parallel()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	p := serve(t, nil)
	p.signal(syscall.SIGTERM)
	p.expectStatus(0, fmt.Sprintf(`msg="descriptor limit raised" limit=%d hard=%d`, limit.Max, limit.Max))
}
