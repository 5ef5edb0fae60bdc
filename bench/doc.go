// Package bench loads a WebSocket server and measures it: thousands of
// connections from a few event loops, and every payload that comes back is
// checked. Command millbench is this package with flags.
//
//	r, err := bench.Run(ctx, bench.Target{URL: "ws://127.0.0.1:9001/"}, bench.Echo{})
//
// A [Target] says which server, a [Scenario] what to do with it: [Echo], [Rate],
// [Sweep], [Idle], [Storm], [Churn], [Wave], [Slow], [Broadcast] or [Receive]. All of them
// have a [Load] in common. Every field but Target.URL may be left out: 0 is the
// default that its comment names, and where there can be none of something, a
// negative value says so. What a run measured is a Result of package
// bench/result.
//
// Connections are descriptors, of which a process may have so many, and a server
// on this machine shares its cores with the load.
package bench
