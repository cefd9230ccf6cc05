package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/api/batching"
	"millrace/deploy/local/localtest"
	"millrace/internal/keyfile"
	"millrace/internal/ops"
	"millrace/test/kit/poll"
	"millrace/test/outage"
)

// serving is a collector that runs.
type serving struct {
	*testing.T
	client   *http.Client
	url, ops string // of agents, of operators
	key      string
}

// start starts a collector, and has it end with the test.
func start(t *testing.T, c *outage.Cloud, mode batching.Mode) *serving {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.json")
	key, err := keyfile.Create(keys, "tenant")
	if err != nil {
		t.Fatal(err)
	}
	command, err := parse(t, append(c.Args(), "--keys="+keys, "--listen="+freeAddress(t), "--listen-grpc=", "--listen-ops="+freeAddress(t), "--ingest="+string(mode))...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- command.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Errorf("the collector ends with %v", err)
		}
	})
	return &serving{T: t, client: localtest.Client(t), url: "http://" + command.Listen, ops: "http://" + command.ListenOps, key: key}
}

// until waits for a condition, with patience for a machine that is busy.
func (s *serving) until(what string, condition func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	if err := poll.Until(ctx, func() (bool, error) { return condition(), nil }); err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s *serving) call(method, url, body string) (status int, answer []byte) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("X-Api-Key", s.key)
	response, err := s.client.Do(request)
	if err != nil { // it does not listen yet
		return 0, nil
	}
	defer response.Body.Close()
	answer, _ = io.ReadAll(response.Body)
	return response.StatusCode, answer
}

func (s *serving) posts(id string) bool {
	s.Helper()
	status, _ := s.call(http.MethodPost, s.url+"/v1/telemetry", fmt.Sprintf(`[{"id":%q,"type":"log"}]`, id))
	return status == http.StatusAccepted
}

func (s *serving) readiness() (status int, r ops.Readiness) {
	s.Helper()
	status, answer := s.call(http.MethodGet, s.ops+"/readyz", "")
	if status != 0 {
		if err := json.Unmarshal(answer, &r); err != nil {
			s.Fatalf("%s: %v", answer, err)
		}
	}
	return status, r
}
