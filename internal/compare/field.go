package compare

// Who is compared and under what is fixed here, and so is the confidence, in
// estimate.go: so that nobody picks, afterwards, what shows his server at its best.

// known are the servers that can be given by name alone, in the order of the
// help.
var known = []server{
	{name: ours, make: millrace, can: allLoads},
	{name: "floor", make: floor, can: words("echo broadcast")},
	rival("gorilla", "echo broadcast tls deflate", "github.com/gorilla/websocket"),
	rival("gws", "echo broadcast tls deflate takeover", "github.com/lxzan/gws"),
	rival("nbio", "echo broadcast tls deflate", "github.com/lesismal/nbio"),
	rival("coder", "echo broadcast tls deflate takeover", "github.com/coder/websocket"),
	rival("gobwas", "echo broadcast tls deflate", "github.com/gobwas/ws"),
	rival("gnet", "echo broadcast deflate", "github.com/panjf2000/gnet/v2", "github.com/gobwas/ws"),
	rival("fasthttp", "echo broadcast tls deflate", "github.com/fasthttp/websocket"),
	rival("greatws", "echo broadcast deflate", "github.com/antlabs/greatws"),
	rival("centrifuge", "broadcast tls", "github.com/centrifugal/centrifuge"),
	{name: "tornado", make: tornado, can: words("echo broadcast tls takeover")},
	{name: "node-ws", make: nodeWS, can: allLoads},
	{name: napping, make: stalled, can: words("echo"), scenarios: []string{"echo-100", "echo-1k"}},
}

// goRivals are the servers in Go that the bars hold millrace against.
var goRivals = []string{"gorilla", "gws", "nbio", "coder", "gobwas", "gnet", "fasthttp", "greatws"}

// scenarios are the goals of docs/performance.md. The two loads of each are the
// same but for churn: a connection of wsload sends no message, and ends with a reset.
var scenarios = []scenario{
	{"echo-100", "echo 64 B, 100 connections",
		words("echo --connections 100 --size 64"), words("-m echo -c 100 -s 64 -d 1"), words("rate cpu p50 p99")},
	{"echo-1k", "echo 64 B, 1,000 connections",
		words("echo --connections 1000 --size 64"), words("-m echo -c 1000 -s 64 -d 1"), words("rate cpu p50 p99")},
	{"echo-10k", "echo 64 B, 10,000 connections",
		words("echo --connections 10000 --size 64"), words("-m echo -c 10000 -s 64 -d 1"), words("rate cpu p50 p99")},
	{"inflight-16", "echo 64 B, 1,000 connections, 16 in flight",
		words("echo --connections 1000 --size 64 --in-flight 16"), words("-m echo -c 1000 -s 64 -d 16"), words("rate cpu p99")},
	{"echo-64k", "echo 64 KiB, 100 connections",
		words("echo --connections 100 --size 65536"), words("-m echo -c 100 -s 65536 -d 1"), words("rate cpu p99")},
	{"rate-20k", "open loop, 20,000 messages/s of 64 B over 1,000 connections",
		words("rate --rate 20000 --connections 1000 --size 64"), words("-m rate -r 20000 -c 1000 -s 64"), words("p50 p99 cpu")},
	{"idle-15k", "idle, 15,000 connections",
		words("idle --connections 15000"), words("-m idle -c 15000"), words("rss")},
	{"churn-64", "connections that come and go, 64 at once",
		words("churn --connections 64 --size 64"), words("-m churn -d 64"), words("rate cpu p99")},
}
