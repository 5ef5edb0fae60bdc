package main

import (
	"net/http"
	"os/exec"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/millrace/millrace/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

func TestChat(t *testing.T) {
	p := program.Start(t)
	ann := p.Dial("/chatsocket?name=ann", http.Header{"Sec-Websocket-Protocol": {"chat.v0, chat.v1"}})
	if got := ann.Subprotocol(); got != "chat.v1" {
		t.Errorf("the subprotocol is %q", got)
	}
	ann.Expect(`{"messages":[]}`)
	ann.SendText(`{"body":"hello"}`)
	ann.Expect(`{"id":1,"name":"ann","body":"hello"}`)

	bob := p.Dial("/chatsocket?name=bob", http.Header{"Origin": {"https://chat.example.com"}})
	bob.Expect(`{"messages":[{"id":1,"name":"ann","body":"hello"}]}`)
	bob.SendText(`{"body":"hi"}`)
	ann.Expect(`{"id":2,"name":"bob","body":"hi"}`)
	bob.SendText(`{"body":"bye"}`)
	bob.ExpectClose(websocket.CloseNormalClosure)
	cat := p.Dial("/chatsocket?name=cat", nil)
	cat.SendText("no JSON")
	cat.ExpectClose(websocket.CloseInvalidFramePayloadData)

	p.ExpectRefusal("/chatsocket", nil, http.StatusBadRequest)
	p.ExpectRefusal("/chatsocket?name=eve", http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden)
	p.Signal()
	ann.ExpectClose(websocket.CloseGoingAway)
	p.ExpectEnd()
}

// script is the chat's client in Tornado's own words.
const script = `
import asyncio, sys
from tornado.websocket import websocket_connect

async def main():
    c = await websocket_connect(sys.argv[1], subprotocols=["chat.v1"], compression_options={})
    print(c.selected_subprotocol)
    print(await c.read_message())
    await c.write_message('{"body": "hello"}')
    print(await c.read_message())
    await c.write_message('{"body": "bye"}')
    print(await c.read_message(), c.close_code, c.close_reason)

asyncio.run(main())
`

const scriptSays = `chat.v1
{"messages":[]}
{"id":1,"name":"ann","body":"hello"}
None 1000 see you
`

func TestTornadosClient(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's, which has Debian's packages
	if err := exec.Command(python, "-c", "import tornado").Run(); err != nil {
		t.Skip("no Tornado: install Debian's package python3-tornado")
	}
	p := program.Start(t)
	out, err := exec.CommandContext(t.Context(), python, "-c", script, "ws://"+p.Addr+"/chatsocket?name=ann").CombinedOutput()
	if err != nil || string(out) != scriptSays {
		t.Errorf("%v, %s; want %s", err, out, scriptSays)
	}
	p.Stop()
}
