package api

import (
	"net"
	"os"
	"runtime/debug"

	"golang.org/x/net/netutil"
)

// besideRoom is what a collector takes beside the room in bytes: the clients of
// AWS and Temporal, connections, and requests that are being decoded.
const besideRoom = 160 << 20

// LimitMemory has the garbage collector keep the process to the room and what is
// beside it, where it would let the heap double. GOMEMLIMIT counts before that.
func (l Limits) LimitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(l.withDefaults().RequestBytes) + besideRoom)
	}
}

// Listen bounds how many connections a listener has at once. Further ones wait.
func (l Limits) Listen(inner net.Listener) net.Listener {
	return netutil.LimitListener(inner, l.withDefaults().Connections)
}
