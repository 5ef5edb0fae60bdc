package xconnect_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	_ "github.com/millrace/millrace/server/xconnect"
)

const enableConnectProtocol = 8 // RFC 8441 section 3

// TestSwitch: a server of net/http in a program that imports the package offers
// extended CONNECT, unless the environment says no; other settings stay.
func TestSwitch(t *testing.T) {
	if os.Getenv("XCONNECT_CHILD") != "" {
		want := uint32(1)
		if strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=0") {
			want = 0
		}
		if got := offered(t); got != want {
			t.Errorf("SETTINGS_ENABLE_CONNECT_PROTOCOL is %d, want %d", got, want)
		}
		if !strings.Contains(os.Getenv("GODEBUG"), os.Getenv("XCONNECT_CHILD")) {
			t.Errorf("GODEBUG is %q", os.Getenv("GODEBUG"))
		}
		return
	}
	for _, debug := range []string{"", "http2xconnect=0", "http2xconnect=1", "madvdontneed=1", "madvdontneed=1,http2xconnect=0"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSwitch$", "-test.v")
		cmd.Env = append(os.Environ(), "XCONNECT_CHILD=http2xconnect", "GODEBUG="+debug)
		if strings.HasPrefix(debug, "madv") {
			cmd.Env = append(cmd.Env, "XCONNECT_CHILD=madvdontneed=1,http2xconnect")
		}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestSwitch") {
			t.Errorf("GODEBUG=%s: %v\n%s", debug, err, out)
		}
	}
}

// offered is the value of the setting in a server's first SETTINGS frame, 0 if it
// is not there.
func offered(t *testing.T) uint32 {
	t.Helper()
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.Config.Protocols = new(http.Protocols)
	web.Config.Protocols.SetUnencryptedHTTP2(true)
	web.Start()
	defer web.Close()
	conn, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // all is read that counts
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	if head[3] != 4 {
		t.Fatalf("the first frame has type %d, want SETTINGS", head[3])
	}
	settings := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(conn, settings); err != nil {
		t.Fatal(err)
	}
	for ; len(settings) >= 6; settings = settings[6:] {
		if binary.BigEndian.Uint16(settings) == enableConnectProtocol {
			return binary.BigEndian.Uint32(settings[2:])
		}
	}
	return 0
}
