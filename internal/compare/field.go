package compare

// Who is compared and under what is fixed here, and so is the confidence, in
// estimate.go: so that nobody picks, afterwards, what shows his server at its best.

// known are the servers that can be given by name alone, in the order of the
// help.
var known = []server{
	{name: ours, make: millrace, can: allLoads},
	{name: "floor", make: floor, can: words("echo broadcast"), limit: true},
	rival("gorilla", "echo broadcast events tls deflate", "github.com/gorilla/websocket"),
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
		words("echo --connections 100 --size 64"), words("-m echo -c 100 -s 64 -d 1"), words("rate cpu p50 p99"), words("echo")},
	{"echo-1k", "echo 64 B, 1,000 connections",
		words("echo --connections 1000 --size 64"), words("-m echo -c 1000 -s 64 -d 1"), words("rate cpu p50 p99"), words("echo")},
	{"echo-10k", "echo 64 B, 10,000 connections",
		words("echo --connections 10000 --size 64"), words("-m echo -c 10000 -s 64 -d 1"), words("rate cpu p50 p99"), words("echo")},
	{"inflight-16", "echo 64 B, 1,000 connections, 16 in flight",
		words("echo --connections 1000 --size 64 --in-flight 16"), words("-m echo -c 1000 -s 64 -d 16"), words("rate cpu p99"), words("echo")},
	{"echo-64k", "echo 64 KiB, 100 connections",
		words("echo --connections 100 --size 65536"), words("-m echo -c 100 -s 65536 -d 1"), words("rate cpu p99"), words("echo")},
	{"rate-20k", "open loop, 20,000 messages/s of 64 B over 1,000 connections",
		words("rate --rate 20000 --connections 1000 --size 64"), words("-m rate -r 20000 -c 1000 -s 64"), words("p50 p99 cpu"), words("echo")},
	{"idle-15k", "idle, 15,000 connections",
		words("idle --connections 15000"), words("-m idle -c 15000"), words("rss"), words("echo")},
	{"churn-64", "connections that come and go, 64 at once",
		words("churn --connections 64 --size 64"), words("-m churn -d 64"), words("rate cpu p99"), words("echo")},
	{"utf8-1k", "echo 1 KiB of characters of 3 bytes, 1,000 connections",
		words("echo --connections 1000 --size 1024 --text cjk"), nil, words("rate cpu p99"), words("echo")},
	{"fan-1k-100", "broadcast to 1,000 connections, 100/s of 64 B",
		words("broadcast --connections 1000 --rate 100 --size 64"), nil, words("cpu p99 last-p99 skew-p99"), words("broadcast")},
	{"fan-1k-1k", "broadcast to 1,000 connections, 1,000/s of 64 B",
		words("broadcast --connections 1000 --rate 1000 --size 64"), nil, words("rate cpu p99"), words("broadcast")},
	{"fan-1k-1KiB", "broadcast to 1,000 connections, 100/s of 1 KiB",
		words("broadcast --connections 1000 --rate 100 --size 1024"), nil, words("cpu p99 last-p99"), words("broadcast")},
	{"fan-10k-10", "broadcast to 10,000 connections, 10/s of 64 B",
		words("broadcast --connections 10000 --rate 10 --size 64"), nil, words("cpu p99 last-p99 skew-p99"), words("broadcast")},
	{"all-to-all-300", "300 connections that all publish, 300/s of 64 B together",
		words("broadcast --connections 300 --publishers all --rate 300 --size 64"), nil, words("cpu p99 last-p99"), words("broadcast")},
	{"stream-1k-100", "broadcast to 1,000 event streams (of the floor: WebSockets), 100/s of 64 B",
		words("broadcast --connections 1001 --event-streams --rate 100 --size 64"), nil, words("cpu p99 last-p99 skew-p99"), words("broadcast events")},
	{"stream-1k-1k", "broadcast to 1,000 event streams (of the floor: WebSockets), 1,000/s of 64 B",
		words("broadcast --connections 1001 --event-streams --rate 1000 --size 64"), nil, words("rate cpu p99"), words("broadcast events")},
	{"round-1k", "broadcast to 1,000 connections, 4 in flight",
		words("broadcast --connections 1000 --in-flight 4 --size 64"), nil, words("rate cpu last-p95"), words("broadcast")},
	{"round-500ms", "how many connections 4 broadcasts in flight reach within 500 ms (p95)",
		words("broadcast --connections 15000 --in-flight 4 --size 64 --limit 500ms --step 1000"), nil, words("clients"), words("broadcast")},
	{"tls-64", "echo 64 B over TLS, 1,000 connections",
		words("echo --connections 1000 --size 64 --insecure"), nil, words("rate cpu p50 p99"), words("echo tls")},
	{"tls-64k", "echo 64 KiB over TLS, 100 connections",
		words("echo --connections 100 --size 65536 --insecure"), nil, words("rate cpu p99"), words("echo tls")},
	{"tls-handshakes", "full TLS handshakes, 64 connections at once",
		words("churn --connections 64 --messages off --insecure"), nil, words("handshakes handshake-cpu p99"), words("echo tls")},
	{"tls-resumed", "resumed TLS handshakes, 64 connections at once",
		words("churn --connections 64 --messages off --insecure --resume"), nil, words("handshakes handshake-cpu p99"), words("echo tls")},
	{"deflate-1k", "echo 1 KiB of JSON, compressed each by itself, 1,000 connections",
		words("echo --connections 1000 --size 1024 --text json --deflate on"), nil, words("rate cpu ratio-received"), words("echo deflate")},
	{"takeover-1k", "echo 1 KiB of JSON, compressed with takeover, 1,000 connections",
		words("echo --connections 1000 --size 1024 --text json --deflate takeover"), nil, words("rate cpu ratio-received"), words("echo takeover")},
	{"fan-deflate", "broadcast to 1,000 connections, 20/s of 1 KiB of JSON, compressed",
		words("broadcast --connections 1000 --rate 20 --size 1024 --text json --deflate on"), nil, words("cpu p99 ratio-received"), words("broadcast deflate")},
}
