package doctor

import (
	"os"
	"runtime"
)

// thisMachine reads the machine.
func thisMachine() Machine {
	m := Read(os.DirFS("/"))
	m.addRuntime(runtime.GOMAXPROCS(0), os.Getpagesize())
	return m
}
