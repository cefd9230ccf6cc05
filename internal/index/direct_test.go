package index

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// countingConn counts the writes to a connection.
type countingConn struct {
	net.Conn
	mu     sync.Mutex
	writes []int
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, len(b))
	c.mu.Unlock()
	if c.Conn == nil {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func TestALentBodyIsWrittenInOnePiece(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("x", 1<<20))
	for name, test := range map[string]struct {
		reader func() io.Reader
		writes int
	}{
		"lent":            {func() io.Reader { return &io.LimitedReader{R: (&lending{body: text}).open(), N: int64(len(text))} }, 1},
		"of another":      {func() io.Reader { return &io.LimitedReader{R: bytes.NewReader(text), N: int64(len(text))} }, len(text) / (32 << 10)},
		"a part of it":    {func() io.Reader { return &io.LimitedReader{R: (&lending{body: text}).open(), N: 100} }, 1},
		"without a limit": {func() io.Reader { return struct{ io.Reader }{bytes.NewReader(text)} }, len(text) / (32 << 10)},
	} {
		c := &countingConn{}
		from := test.reader()
		n, err := direct{c}.ReadFrom(from)
		sum := 0
		for _, written := range c.writes {
			sum += written
		}
		want := len(text)
		if name == "a part of it" {
			want = 100
		}
		if err != nil || int(n) != want || sum != want || len(c.writes) != test.writes {
			t.Errorf("%s: %d bytes in %d writes, and %d said to be (%v)", name, sum, len(c.writes), n, err)
		}
		if limited, ok := from.(*io.LimitedReader); ok && limited.N != 0 {
			t.Errorf("%s: %d bytes are still to come", name, limited.N)
		}
	}
}

// net/http must find out what the connection can do: nothing but this test says
// so when it no longer does.
func TestNetHTTPHandsOverTheBody(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}))
	t.Cleanup(server.Close)
	var connection *countingConn
	client := &http.Client{Transport: borrower{&http.Transport{
		DialContext: func(_ context.Context, to, address string) (net.Conn, error) {
			c, err := net.Dial(to, address)
			connection = &countingConn{Conn: c}
			return direct{connection}, err
		},
	}}}
	body := &lending{body: make([]byte, 1<<20)}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, body.open())
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = int64(len(body.body))
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || string(text) != fmt.Sprint(len(body.body)) {
		t.Errorf("%s bytes have arrived (%v)", text, err)
	}
	body.readers.Wait()
	connection.mu.Lock()
	defer connection.mu.Unlock()
	if !slices.Contains(connection.writes, len(body.body)) {
		t.Errorf("the body was written in pieces: %v", connection.writes)
	}
}
