//go:build darwin || dragonfly || freebsd

package poller

// engines are the engines of this system, the default first.
var engines = []Engine{easygoEngine{}}
