package cli

import "github.com/millrace/millrace/bench/result"

// scenario is what one run can be.
type scenario struct {
	name, about string
	help        string // what it does and measures, in full sentences
}

var scenarios = []scenario{
	{result.Echo, "closed loop: each connection keeps messages under way",
		"Opens connections to a server that sends each message back. Each keeps --in-flight\n" +
			"messages under way: the most the server can do, not the latency under a given load."},
	{result.Rate, "open loop: messages at a fixed rate, honest latency",
		"Sends messages at a fixed rate to a server that sends each back. Latency counts from\n" +
			"the time a message was due, so a pause of the server shows in each message it delayed;\n" +
			"service time counts from when it was sent."},
	{result.Sweep, "open loop, the rate raised until the server falls behind",
		"Raises the rate of an open loop by --sweep-factor until the server does not follow, or\n" +
			"its p99 passes --sweep-limit, in two of three tries. Then it halves the interval between\n" +
			"the highest rate that held and the lowest that did not, until it is as narrow as\n" +
			"--sweep-precision: the knee. If the client was the limit it says \"at least\", and no knee.\n" +
			"The other figures are those of the highest rate that held."},
	{result.Idle, "memory of an idle connection, then a message to each",
		"Opens connections, leaves them idle, measures what memory each took of the server, and\n" +
			"then sends a message on each at once."},
	{result.Storm, "all connections at once, or at a rate",
		"Opens connections as fast as --handshakes and --connect-rate allow, and measures the\n" +
			"time of each from connect to upgrade."},
	{result.Churn, "connect, some messages, close, over and over",
		"Keeps --connections connections at connecting, sending --messages messages one after\n" +
			"another, and closing, and begins again. Latency is a connection's whole life, service\n" +
			"time that of a message."},
	{result.Wave, "all connections drop at once and come back",
		"Opens connections, drops all of them at once and opens them again, --waves times. Latency\n" +
			"is the time from connect to upgrade."},
	{result.Slow, "some peers hardly read; latency of the others",
		"Loads a server in a closed loop, first with fast connections alone, then beside a share\n" +
			"that sends but reads slowly or not at all. The result is that of the fast ones then."},
	{result.Broadcast, "some publish, all receive",
		"The first --publishers connections send messages at a fixed rate to a server that gives\n" +
			"each to all connections, or keep --in-flight messages on their way. Latency is from\n" +
			"when a message was due to each arrival, last to its last arrival, skew from its first\n" +
			"to its last. The server may send a message to its publisher too, or not. With --limit\n" +
			"it finds how many connections are served in time. With --event-streams those that do not\n" +
			"publish are event streams."},
	{result.Receive, "only receive what the server sends by itself",
		"Opens connections, sends --hello on each if it is given, and counts what the server\n" +
			"sends. Latency is the time between two messages of a connection."},
}
