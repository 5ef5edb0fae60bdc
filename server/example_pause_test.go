package server_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/millrace/millrace/server"
	"github.com/millrace/millrace/ws"
)

// pipeline gives messages to a worker that is slower than the peers: when four wait, the
// peer whose message is the fourth is not read until the worker has taken it.
type pipeline struct{ jobs chan job }

type job struct {
	conn *server.Conn
	text string
}

func (p *pipeline) Open(*server.Conn) {}

func (p *pipeline) Message(c *server.Conn, m ws.Message) {
	if len(p.jobs) >= cap(p.jobs)-1 {
		c.PauseReading()
	}
	p.jobs <- job{c, string(m.Payload)} // a copy: the payload is valid until Message returns
}

func (p *pipeline) Close(*server.Conn, error) {}

func (p *pipeline) work() {
	for j := range p.jobs {
		j.conn.ResumeReading() // does nothing if it is not paused
		_ = j.conn.SendText(strings.ToUpper(j.text))
	}
}

// A handler that holds its peer up while it has enough to do.
func ExampleConn_PauseReading() {
	p := &pipeline{jobs: make(chan job, 4)}
	var working sync.WaitGroup
	working.Go(p.work)
	srv := &server.Server{Handler: p}
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go srv.Serve(ln)

	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	io.WriteString(conn, upgradeRequest()+frame(opText, "one")+frame(opText, "two"))
	answers := make([]byte, 10)
	text, _ := io.ReadAll(io.LimitReader(conn, 1))
	for !strings.HasSuffix(string(text), "\r\n\r\n") {
		io.ReadFull(conn, answers[:1])
		text = append(text, answers[0])
	}
	io.ReadFull(conn, answers)
	fmt.Printf("%s %s\n", answers[2:5], answers[7:])
	srv.Close()
	close(p.jobs)
	working.Wait()
	// Output: ONE TWO
}
