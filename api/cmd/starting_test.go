package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/api/batching"
	"millrace/internal/queue"
	"millrace/test/outage"
	"millrace/workers"
)

// A collector that is restarted or added while one service is away takes
// records, says what it lacks, and is whole when the service is back.
func TestCollectorStartsDuringOutage(t *testing.T) {
	c := outage.New(t)
	for _, mode := range []batching.Mode{batching.Temporal, batching.Direct} {
		for _, away := range []string{workers.Kinesis, workers.SQS, workers.S3, workers.Temporal} {
			if mode == batching.Direct && away == workers.Temporal {
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
func TestCollectorUsesQueueUntilStreamIsFound(t *testing.T) {
	c := outage.New(t)
	c.Close(workers.Kinesis)
	s := start(t, c, batching.Direct)
	s.until("it takes records", func() bool { return s.posts("early") })
	fallback := queue.NewFallback(c.Queues, c.Names.Queue, nil)
	got, err := fallback.Receive(t.Context(), 10, time.Second, time.Minute)
	if err != nil || len(got) == 0 || len(got[0].Records) != 1 || !strings.Contains(string(got[0].Records[0]), `"early"`) {
		t.Errorf("the queue has %d messages: %v", len(got), err)
	}
}

// A wrong name is no outage: it is reported until an operator corrects it.
func TestReadinessNamesMissingStream(t *testing.T) {
	c := outage.New(t)
	c.Names.Stream += "-misspelt"
	s := start(t, c, batching.Direct)
	s.until("it names the stream", func() bool {
		_, r := s.readiness()
		return strings.Contains(r.Degraded[workers.Kinesis], c.Names.Stream) && strings.Contains(r.Degraded[workers.Kinesis], "ResourceNotFound")
	})
	if status, answer := s.call(http.MethodGet, s.url+"/readyz", ""); status != http.StatusOK || string(answer) != `{"ready":true}`+"\n" {
		t.Errorf("agents are answered %d %s", status, answer)
	}
}

func TestCollectorRefusesRecordsItCannotStore(t *testing.T) {
	c := outage.New(t)
	for _, service := range []string{workers.Kinesis, workers.SQS, workers.Temporal} {
		c.Close(service)
	}
	s := start(t, c, batching.Temporal)
	s.until("it says that it cannot work", func() bool {
		status, r := s.readiness()
		return status == http.StatusServiceUnavailable && !r.Ready && len(r.Missing) == 3
	})
	if status, answer := s.call(http.MethodPost, s.url+"/v1/telemetry", `[{"type":"log"}]`); status != http.StatusServiceUnavailable {
		t.Errorf("a post is answered %d %s", status, answer)
	}
	c.Open(workers.SQS)
	s.until("it takes records", func() bool { return s.posts("late") })
}
