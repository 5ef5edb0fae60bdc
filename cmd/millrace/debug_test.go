package main_test

import (
	"strings"
	"testing"
)

// TestDebugInBrowser looks at the connections as an operator does and closes one.
// With MILLRACE_SCREENSHOTS it leaves pictures in that folder.
func TestDebugInBrowser(t *testing.T) {
	b := startBrowser(t)
	p := serve(t, nil, "--admin", "127.0.0.1:0")
	page := "http://" + p.admin + "/debug/conns"
	b.navigate(page)
	b.waitForText(".empty", "No connections.")
	var clients []*client
	for i := range 12 {
		c := open(t, p.addr)
		for range i {
			c.send(fin|opText, strings.Repeat("x", 1000*i))
			c.expect(opText, strings.Repeat("x", 1000*i))
		}
		clients = append(clients, c)
	}
	b.navigate(page + "?by=bytes")
	b.waitForText("tbody tr:first-child", clients[11].LocalAddr().String(), "open", "118 KiB")
	b.waitForText("nav strong", "bytes")
	shoot(b, "4-connections.png")
	b.typeInto("[name=code]", "4000")
	b.typeInto("[name=reason]", "at <the> operator's wish"+enter) // Enter alone closes nobody
	b.click("tbody tr:first-child button")
	b.waitForText(".note", "is being closed.")
	if reason := clients[11].expectClose(4000); reason != "at <the> operator's wish" {
		t.Errorf("closed with the reason %q", reason)
	}
	clients[10].send(fin|opText, "still here")
	clients[10].expect(opText, "still here")
	shoot(b, "5-closed.png")
	b.click("nav a[href*=rtt]")
	b.waitForText("nav strong", "RTT")
	for _, line := range b.complaints() {
		t.Errorf("console: %s", line)
	}
}
