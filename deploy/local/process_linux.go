package local

import "syscall"

// childAttributes: the child dies with us, however we die, and has a process group of its own, so that a Ctrl-C in the
// terminal reaches us alone and we stop things in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
