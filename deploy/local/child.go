package local

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// StartChild starts a process that dies with us, where the system can do that, and is in a process group of its own, so
// that a Ctrl-C in the terminal reaches us alone and we stop things in order. It runs as another user where as is not nil.
func StartChild(cmd *exec.Cmd, as *syscall.Credential) error {
	cmd.SysProcAttr = childAttributes()
	cmd.SysProcAttr.Credential = as
	result := make(chan error)
	lastingThread() <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	return nil
}

// lastingThread runs functions on one thread that never ends: Linux kills a child when the thread that started it ends,
// even if the process lives on.
var lastingThread = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})
