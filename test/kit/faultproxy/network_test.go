package faultproxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"millrace/test/kit/faultproxy"
)

// A cut way keeps what is sent, in both directions, until it is mended.
func TestNetworkIsCutAndMended(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(client, client) }() // an echo
		}
	}()
	network, err := faultproxy.StartNetwork(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	}()
	dial := func() (net.Conn, *bufio.Reader) {
		client, err := net.Dial("tcp", network.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return client, bufio.NewReader(client)
	}
	old, oldAnswers := dial()
	say := func(to net.Conn, text string) {
		if _, err := io.WriteString(to, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(from *bufio.Reader, want string) {
		t.Helper()
		if got, err := from.ReadString('\n'); err != nil || got != want {
			t.Errorf("heard %q, want %q: %v", got, want, err)
		}
	}
	say(old, "before\n")
	hear(oldAnswers, "before\n")
	if network.Held() != 0 {
		t.Error("something was held before the cut")
	}

	network.Cut()
	young, youngAnswers := dial()
	say(old, "old\n")
	say(young, "young\n")
	_ = young.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if text, err := youngAnswers.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("heard %q through a cut: %v", text, err)
	}
	_ = young.SetReadDeadline(time.Time{})
	if network.Held() == 0 {
		t.Error("nothing was held by the cut")
	}

	network.Mend()
	hear(oldAnswers, "old\n")
	hear(youngAnswers, "young\n")
	network.Mend() // again
	say(old, "mended\n")
	hear(oldAnswers, "mended\n")
}

// What a server is asked goes on reaching it when only its answers are held.
func TestNetworkHoldsAnswersAlone(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	network, err := faultproxy.StartNetwork(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	}()
	network.CutBack()
	network.CutBack() // again
	client, err := net.Dial("tcp", network.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := io.WriteString(client, "ask\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(server).ReadString('\n'); err != nil || got != "ask\n" || network.Held() != 0 {
		t.Fatalf("the server heard %q, %v, and %d pieces were held", got, err, network.Held())
	}
	if _, err := io.WriteString(server, "answer\n"); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(client)
	_ = client.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if text, err := answers.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) || network.Held() != 1 {
		t.Errorf("heard %q through a cut, %v, and %d pieces were held", text, err, network.Held())
	}
	_ = client.SetReadDeadline(time.Time{})
	network.Mend()
	if text, err := answers.ReadString('\n'); err != nil || text != "answer\n" {
		t.Errorf("heard %q, %v", text, err)
	}
}
