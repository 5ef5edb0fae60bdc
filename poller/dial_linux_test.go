package poller_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/millrace/millrace/poller"
	"golang.org/x/sys/unix"
)

// childNetwork names, in the environment, the engine that this process is to
// use up its ports with.
const childNetwork = "MILLRACE_TEST_PORTS"

// TestNoPorts runs TestNoPortsChild in processes with a network of their own,
// which has few ports.
func TestNoPorts(t *testing.T) {
	for _, name := range poller.Engines() {
		t.Run(name, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run=^TestNoPortsChild$", "-test.v")
			child.Env = append(os.Environ(), childNetwork+"="+name)
			child.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
				UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			}
			out, err := child.CombinedOutput()
			if errors.Is(err, os.ErrPermission) {
				t.Skipf("no network of its own for a process here: %v", err)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

func TestNoPortsChild(t *testing.T) {
	name := os.Getenv(childNetwork)
	if name == "" {
		t.Skip("TestNoPorts runs it in a process of its own")
	}
	fewPorts(t, "40000 40003")
	d := newEngine(t, name).(poller.Dialer)
	tests := []struct{ name, listen, local string }{
		{"the system's choice", "127.0.0.1:50000", ""},
		{"another local address", "", "127.0.0.2"},
		{"another remote from a local address in use", "127.0.0.1:50001", "127.0.0.2"},
		{"IPv6", "[::1]:50000", ""},
		{"another remote from a local address of IPv6", "[::1]:50001", "::1"},
	}
	var remote netip.AddrPort
	for _, test := range tests {
		if test.listen != "" {
			l, err := d.Listen("tcp", test.listen)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			remote = addrPort(l)
		}
		local, _ := netip.ParseAddr(test.local)
		usePorts(t, d, test.name, 4, local, remote)
	}
}

// usePorts connects until there are no ports left, and once more after one
// connection is gone without TIME_WAIT.
func usePorts(t *testing.T, d poller.Dialer, name string, ports int, local netip.Addr, remote netip.AddrPort) {
	t.Helper()
	var last int
	for range ports {
		fd, err := d.Connect(local, remote)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		last = fd
	}
	before := len(openDescriptors(t))
	for range 3 {
		if _, err := d.Connect(local, remote); !errors.Is(err, poller.ErrNoPorts) || !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("%s: Connect = %v, want ErrNoPorts and EADDRNOTAVAIL", name, err)
		}
	}
	if after := len(openDescriptors(t)); after != before {
		t.Errorf("%s: %d descriptors are open, and were %d", name, after, before)
	}
	if err := d.ResetOnClose(last); err != nil {
		t.Error(err)
	}
	if err := d.Close(last); err != nil {
		t.Error(err)
	}
	if _, err := d.Connect(local, remote); err != nil {
		t.Errorf("%s: with one port free again: %v", name, err)
	}
}

// fewPorts sets up the new network of this process: its loopback device, and
// the ports that connections begin from.
func fewPorts(t *testing.T, ports string) {
	t.Helper()
	err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(ports), 0)
	if err != nil {
		t.Skipf("no rights in the new network: %v", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	device, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	device.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, device); err != nil {
		t.Fatal(err)
	}
}
