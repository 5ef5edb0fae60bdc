package ws_test

import (
	"syscall"
	"testing"
)

// guarded gives a copy of wire that ends where the memory ends: who reads behind it
// faults. release ends its use.
func guarded(t testing.TB, wire []byte) (in []byte, release func()) {
	t.Helper()
	page := syscall.Getpagesize()
	size := (len(wire) + page - 1) / page * page
	memory, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mprotect(memory[size:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	in = memory[size-len(wire) : size : size]
	copy(in, wire)
	return in, func() { _ = syscall.Munmap(memory) }
}
