package servertest_test

import (
	"testing"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/server/servertest"
	"github.com/millrace/millrace/ws"
)

// A test of a server that counts.
func ExampleStart() {
	_ = func(t *testing.T) { // TestCount
		s := servertest.Start(t, &server.Server{Handler: server.MessageFunc(func(c *server.Conn, _ ws.Message) {
			n, _ := server.Value[int](c)
			c.SetValue(n + 1)
			_ = c.SendJSON(n + 1) // fails only if the connection is closing
		})})
		c := s.Connect("/")
		for want := 1; want <= 3; want++ {
			var got int
			c.SendText("count")
			if c.ReceiveJSON(&got); got != want {
				t.Errorf("%d, want %d", got, want)
			}
		}
		if end := c.Close(ws.CodeNormal, ""); end.Code != ws.CodeNormal {
			t.Errorf("closed with %v", end)
		}
	}
}
