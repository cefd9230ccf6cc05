package faultproxy

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Network is a way to a server by TCP that can be cut: connections stay, new
// ones can be made, and nothing comes through until it is mended. That is how
// a partition looks from both of its sides.
type Network struct {
	target   string
	listener net.Listener

	mu          sync.Mutex
	there, back chan struct{} // each is closed while bytes may pass
	held        int           // pieces that had to wait
	ends        []net.Conn
}

// StartNetwork makes a way to a server's host and port.
func StartNetwork(ctx context.Context, target string) (*Network, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	n := &Network{target: target, listener: listener, there: make(chan struct{}), back: make(chan struct{})}
	close(n.there)
	close(n.back)
	go n.accept()
	return n, nil
}

// Address is where clients of the server go.
func (n *Network) Address() string { return n.listener.Addr().String() }

// Cut lets nothing through any more.
func (n *Network) Cut() { n.cut(&n.there, &n.back) }

// CutBack lets nothing of what the server says through any more: it goes on
// hearing, and doing, what it is asked.
func (n *Network) CutBack() { n.cut(&n.back) }

func (n *Network) cut(ways ...*chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, way := range ways {
		if isClosed(*way) {
			*way = make(chan struct{})
		}
	}
}

// Mend lets everything through that has waited, and all that follows.
func (n *Network) Mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, way := range []chan struct{}{n.there, n.back} {
		if !isClosed(way) {
			close(way)
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Held returns how often something had to wait: without any, no call has met
// the cut.
func (n *Network) Held() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held
}

// Close ends the way and all its connections.
func (n *Network) Close() error {
	err := n.listener.Close()
	n.Mend()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, end := range n.ends {
		end.Close()
	}
	if err != nil {
		return fmt.Errorf("close the way: %w", err)
	}
	return nil
}

func (n *Network) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", n.target)
		if err != nil {
			client.Close()
			continue
		}
		n.mu.Lock()
		n.ends = append(n.ends, client, server)
		n.mu.Unlock()
		go n.carry(client, server, &n.there)
		go n.carry(server, client, &n.back)
	}
}

// carry moves bytes one way, and ends both when one of them has.
func (n *Network) carry(from, to net.Conn, way *chan struct{}) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		size, err := from.Read(buffer)
		if err != nil {
			return
		}
		<-n.open(way)
		if _, err := to.Write(buffer[:size]); err != nil {
			return
		}
	}
}

// open returns what is closed when bytes may pass, and counts who must wait.
func (n *Network) open(way *chan struct{}) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !isClosed(*way) {
		n.held++
	}
	return *way
}
