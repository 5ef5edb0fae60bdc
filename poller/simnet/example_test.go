package simnet_test

import (
	"fmt"
	"log"

	"github.com/millrace/millrace/poller"
	"github.com/millrace/millrace/poller/simnet"
)

// A server's turn on a kernel that takes one byte of each write.
func Example() {
	network := simnet.New(simnet.Config{})
	loop, err := network.NewPoller()
	if err != nil {
		log.Fatal(err)
	}
	listener, err := network.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	peer, err := network.Dial("server:80")
	if err != nil {
		log.Fatal(err)
	}
	peer.Script(simnet.OneByte)

	fd, remote, err := listener.Accept()
	fmt.Println("accept:", remote, err)
	fmt.Println("add:", loop.Add(fd, 1))
	for range 3 {
		n, err := network.Write(fd, []byte("hello"))
		fmt.Println("write:", n, err)
	}
	events := make([]poller.Event, 8)
	n, err := loop.Wait(events, 0)
	fmt.Println("wait:", n, err)
	fmt.Println("the peer has", peer.Buffered(), "byte")

	fmt.Println("close:", loop.CloseFD(fd))
	fmt.Println("violations:", len(network.Violations()))
	// Output:
	// accept: 10.0.0.0:49152 <nil>
	// add: <nil>
	// write: 0 poller: not ready
	// write: 1 <nil>
	// write: 0 poller: not ready
	// wait: 1 <nil>
	// the peer has 1 byte
	// close: <nil>
	// violations: 0
}

// A peer behind a slow link: what it has not read is on the way.
func ExampleConn_AckOnRead() {
	network := simnet.New(simnet.Config{})
	listener, err := network.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	peer, err := network.Dial("server:80")
	if err != nil {
		log.Fatal(err)
	}
	fd, _, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := network.Write(fd, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(network.Unacked(fd))
	peer.AckOnRead(true)
	fmt.Println(network.Unacked(fd))
	if _, err := peer.TryRead(make([]byte, 3)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(network.Unacked(fd))
	// Output:
	// 0 <nil>
	// 5 <nil>
	// 2 <nil>
}
