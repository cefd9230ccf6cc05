package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/keyfile"
	"millrace/internal/requestid"
	"millrace/internal/telemetry"
)

// stream is an Ingester that keeps what it gets.
type stream struct {
	mu      sync.Mutex
	records [][]byte
	batches []requestid.Batch // that it says it put them into
	err     error
}

func (s *stream) Ingest(_ context.Context, _ string, records [][]byte) ([]requestid.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	s.records = append(s.records, records...)
	return s.batches, nil
}

// take returns the records so far as documents, and forgets them.
func (s *stream) take(t *testing.T) []map[string]any {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var documents []map[string]any
	for _, data := range s.records {
		if _, err := telemetry.Parse(data); err != nil {
			t.Errorf("the stream cannot read %s: %v", data, err)
		}
		documents = append(documents, decodeStrictly(t, data))
	}
	s.records = nil
	return documents
}

// collector is a Server with a key, before a stream.
type collector struct {
	*Server
	stream *stream
	http   *httptest.Server
	key    string
	keys   string // the file
}

func newCollector(t testing.TB, limits Limits) *collector {
	t.Helper()
	c := &collector{stream: &stream{}, keys: filepath.Join(t.TempDir(), "keys.json")}
	var err error
	if c.key, err = keyfile.Create(c.keys, testTenant); err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys(c.keys)
	if err != nil {
		t.Fatal(err)
	}
	server := New(Settings{Region: testRegion, Limits: limits}, keys, c.stream)
	server.now = func() time.Time { return testNow }
	c.listen(t, server)
	return c
}

// listen has a server answer, in place of the one before.
func (c *collector) listen(t testing.TB, s *Server) {
	t.Helper()
	c.listenWithin(t, s, s.HTTP(nil).ReadTimeout)
}

// listenWithin is listen, where bodies have to arrive in time.
func (c *collector) listenWithin(t testing.TB, s *Server, bodies time.Duration) {
	t.Helper()
	c.Server = s
	c.http = httptest.NewUnstartedServer(nil)
	c.http.Config = c.HTTP(c.Handler())
	c.http.Config.ReadTimeout = bodies
	c.http.Start()
	t.Cleanup(c.http.Close)
}

// reply is what a post was answered.
type reply struct {
	status   int
	header   http.Header
	body     []byte
	Error    string
	Accepted int
	Rejected []Rejection
}

func (r reply) positions() []int {
	positions := []int{}
	for _, rejection := range r.Rejected {
		positions = append(positions, rejection.Position)
	}
	return positions
}

// post posts with the collector's key unless the headers say otherwise; they
// are names and values in turn.
func (c *collector) post(t *testing.T, path string, body io.Reader, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.http.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "ApiKey "+c.key)
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
		if pair[1] == "" {
			request.Header.Del(pair[0])
		}
	}
	return c.do(t, request)
}

func (c *collector) do(t *testing.T, request *http.Request) reply {
	t.Helper()
	response, err := c.http.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	r := reply{status: response.StatusCode, header: response.Header}
	if r.body, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	if response.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(r.body, &r); err != nil {
			t.Errorf("the answer is no JSON: %v: %s", err, r.body)
		}
	}
	return r
}

func (c *collector) postText(t *testing.T, path, body string, headers ...string) reply {
	t.Helper()
	return c.post(t, path, strings.NewReader(body), headers...)
}
