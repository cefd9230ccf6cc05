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

	"millrace/api"
	"millrace/api/ingest"
	"millrace/deploy/local/localtest"
	"millrace/internal/ops"
	"millrace/internal/queue"
	"millrace/test/kit/poll"
	"millrace/test/outage"
	"millrace/workers"
)

// serving is a collector that runs.
type serving struct {
	*testing.T
	client   *http.Client
	url, key string
}

// start starts a collector, and has it end with the test.
func start(t *testing.T, c *outage.Cloud, mode ingest.Mode) *serving {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.json")
	key, err := api.CreateKey(keys, "tenant")
	if err != nil {
		t.Fatal(err)
	}
	command, err := parse(t, append(c.Args(), "--keys="+keys, "--listen="+freeAddress(t), "--listen-grpc=", "--ingest="+string(mode))...)
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
	return &serving{t, localtest.Client(t), "http://" + command.Listen, key}
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

func (s *serving) call(method, path, body string) (status int, answer []byte) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
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
	status, _ := s.call(http.MethodPost, "/v1/telemetry", fmt.Sprintf(`[{"id":%q,"type":"log"}]`, id))
	return status == http.StatusAccepted
}

func (s *serving) readiness() (status int, r ops.Readiness) {
	s.Helper()
	status, answer := s.call(http.MethodGet, "/readyz", "")
	if status != 0 {
		if err := json.Unmarshal(answer, &r); err != nil {
			s.Fatalf("%s: %v", answer, err)
		}
	}
	return status, r
}

// A collector that is restarted or added while one service is away takes
// records, says what it lacks, and is whole when the service is back.
func TestACollectorStartsInAnOutage(t *testing.T) {
	c := outage.New(t)
	for _, mode := range []ingest.Mode{ingest.Temporal, ingest.Direct} {
		for _, away := range []string{workers.Kinesis, workers.SQS, workers.S3, workers.Temporal} {
			if mode == ingest.Direct && away == workers.Temporal {
				continue // which has no need of it
			}
			t.Run(string(mode)+" without "+away, func(t *testing.T) {
				c.Close(away)
				t.Cleanup(func() { c.Open(away) })
				s := start(t, c, mode)
				s.until("it takes records", func() bool { return s.posts("early") })
				s.until("it says what it lacks", func() bool {
					status, r := s.readiness()
					return status == http.StatusOK && r.Ready && len(r.Missing) == 0 && len(r.Degraded) == 1 && r.Degraded[away] != ""
				})
				c.Open(away)
				s.until("it lacks nothing", func() bool {
					status, r := s.readiness()
					return status == http.StatusOK && r.Ready && len(r.Missing)+len(r.Degraded) == 0
				})
				if !s.posts("late") {
					t.Error("it takes no more records")
				}
			})
		}
	}
}

// What it took before the stream was found is in the queue, not in its memory.
func TestRecordsGoIntoTheQueueUntilTheStreamIsFound(t *testing.T) {
	c := outage.New(t)
	c.Close(workers.Kinesis)
	s := start(t, c, ingest.Direct)
	s.until("it takes records", func() bool { return s.posts("early") })
	fallback := queue.NewFallback(c.Queues, c.Names.Queue, nil)
	got, err := fallback.Receive(t.Context(), 10, time.Second, time.Minute)
	if err != nil || len(got) == 0 || len(got[0].Records) != 1 || !strings.Contains(string(got[0].Records[0]), `"early"`) {
		t.Errorf("the queue has %d messages: %v", len(got), err)
	}
}

// A wrong name is no outage: it is reported until an operator corrects it.
func TestAMissingStreamIsNamed(t *testing.T) {
	c := outage.New(t)
	c.Names.Stream += "-misspelt"
	s := start(t, c, ingest.Direct)
	s.until("it names the stream", func() bool {
		_, r := s.readiness()
		return strings.Contains(r.Degraded[workers.Kinesis], c.Names.Stream) && strings.Contains(r.Degraded[workers.Kinesis], "ResourceNotFound")
	})
}

func TestWithoutAnyDurableWayNothingIsTaken(t *testing.T) {
	c := outage.New(t)
	for _, service := range []string{workers.Kinesis, workers.SQS, workers.Temporal} {
		c.Close(service)
	}
	s := start(t, c, ingest.Temporal)
	s.until("it says that it cannot work", func() bool {
		status, r := s.readiness()
		return status == http.StatusServiceUnavailable && !r.Ready && len(r.Missing) == 3
	})
	if status, answer := s.call(http.MethodPost, "/v1/telemetry", `[{"type":"log"}]`); status != http.StatusServiceUnavailable {
		t.Errorf("a post is answered %d %s", status, answer)
	}
	c.Open(workers.SQS)
	s.until("it takes records", func() bool { return s.posts("late") })
}
