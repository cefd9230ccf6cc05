package local

import (
	"net"
	"slices"
	"testing"
)

func TestUsualPortIsTakenOnlyWhenFree(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	busy := listener.Addr().(*net.TCPAddr).Port
	var any portChooser
	spare, err := any.choose([]int{0})
	if err != nil {
		t.Fatal(err)
	}

	chooser := portChooser{usual: true}
	ports, err := chooser.choose([]int{busy, spare[0], 0})
	if err != nil {
		t.Fatal(err)
	}
	if ports[0] == busy {
		t.Error("chose a port that another process listens on")
	}
	if ports[1] != spare[0] {
		t.Errorf("chose %d although the usual %d is free", ports[1], spare[0])
	}
	if slices.Contains(ports, 0) {
		t.Errorf("left a port open: %v", ports)
	}
}

func TestNoPortIsChosenTwice(t *testing.T) {
	chooser := portChooser{usual: true}
	seen := map[int]bool{}
	for range 50 {
		ports, err := chooser.choose([]int{0, 0})
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range ports {
			if seen[port] {
				t.Fatalf("chose %d twice", port)
			}
			seen[port] = true
		}
	}
}
