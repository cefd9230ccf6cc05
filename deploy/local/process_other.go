//go:build unix && !linux

package local

import "syscall"

// childAttributes: the child has a process group of its own, so that a Ctrl-C in the terminal reaches us alone and we
// stop things in order. Only Linux can also tie the child's life to ours.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
