// Package peers holds servers on the libraries that millrace is compared
// with, each a command in a folder of its own, and their tests. It is a module
// of its own, so that nobody who uses millrace gets these dependencies.
// README.md tells what was chosen for each server and why.
package peers
