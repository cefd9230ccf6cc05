package local

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Free ports are chosen below the range from which systems take the ports of outgoing connections, so that no connection gets
// a server's port while it restarts.
const (
	lowestPort  = 20000
	highestPort = 29999
)

// portChooser chooses ports that are free and that it did not choose before.
type portChooser struct {
	usual bool
	taken map[int]bool
}

// ChoosePorts returns a free port for each of the usual ones: that one if usual is true and it is free, else any. It is
// for processes beside a stack.
func ChoosePorts(usual bool, ports ...int) ([]int, error) {
	chooser := portChooser{usual: usual}
	return chooser.choose(ports)
}

// choose returns a port for each of the usual ones.
func (c *portChooser) choose(usual []int) ([]int, error) {
	ports := make([]int, len(usual))
	for i, port := range usual {
		if port != 0 && c.usual && c.reserve(port) {
			ports[i] = port
			continue
		}
		var err error
		if ports[i], err = c.takeAny(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

func (c *portChooser) takeAny() (int, error) {
	const size = highestPort - lowestPort + 1
	first := rand.IntN(size) // Two stacks that start at the same time should not meet.
	for i := range size {
		if port := lowestPort + (first+i)%size; c.reserve(port) {
			return port, nil
		}
	}
	return 0, errors.New("no port is free between " + strconv.Itoa(lowestPort) + " and " + strconv.Itoa(highestPort))
}

func (c *portChooser) reserve(port int) bool {
	if c.taken[port] || !isFree(port) {
		return false
	}
	if c.taken == nil {
		c.taken = map[int]bool{}
	}
	c.taken[port] = true
	return true
}

// isFree tries the loopback interface and all interfaces: on some systems either can be taken while the other is free.
func isFree(port int) bool {
	for _, host := range []string{"127.0.0.1", ""} {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		listener.Close()
	}
	return true
}
