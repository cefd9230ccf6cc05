package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/worker"

	"millrace/activities/ingest"
	"millrace/internal/intake"
	"millrace/internal/pack"
	"millrace/internal/requestid"
	"millrace/internal/telemetry"
	"millrace/starter/find"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// placer is a made-up way into the stream: by their ids, records go into the queue, or
// nowhere at present.
type placer struct {
	mu            sync.Mutex
	queue, refuse string
}

func (p *placer) Place(_ context.Context, _ string, records [][]byte) (placed intake.Placed, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, data := range records {
		switch telemetry.ParseFields(data).ID {
		case p.queue:
			placed.Queued = append(placed.Queued, n)
		case p.refuse:
			placed.Left, err = append(placed.Left, n), errors.New("the stream is made to refuse")
		}
	}
	return placed, err
}

// ingest starts the batch of a request with records of these ids, and returns the
// request's id.
func (s shelf) ingest(suffix string, ids ...string) (request, workflow string) {
	s.t.Helper()
	id := requestid.ID{At: time.Now(), Collector: "0a1b2c3d", Number: 1, Batches: []requestid.Batch{{UUID: uuid.New()}}}
	workflow = workflows.IngestID(id.Batches[0].UUID.String()) + suffix
	var records [][]byte
	for _, id := range ids {
		records = append(records, s.data(id))
	}
	if err := (launch.Launcher{Client: s.temporal}).StartIngest(s.Context(), workflow, pack.Pack(records)); err != nil {
		s.t.Fatal(err)
	}
	return id.String(), workflow
}

func TestFindAsksTheBatchOfARequest(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.put()
	way := &placer{queue: "queued", refuse: "left"}
	w := worker.New(s.temporal, workflows.IngestQueue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
	w.RegisterWorkflow(workflows.IngestBatch)
	w.RegisterActivity(&ingest.Ingester{Intake: way, Batches: launch.Launcher{Client: s.temporal}})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	request, workflow := s.ingest("", "queued", "streamed", "left")
	await(t, "the state of the batch", func() bool {
		a := s.answer(0, "left", "--request", request)
		return len(a.Ingest.Found) == 1 && a.Ingest.Found[0] == (find.Ingest{Workflow: workflow, State: "Running", Position: 2, Records: 3, Left: 1})
	})
	contains(t, "find left", s.find(0, "left", "--request", request), "1 of 3 records, safe in the input of the workflow")
	if a := s.answer(0, "queued", "--request", request); a.Queue.State != find.Found || a.Queue.Found[0].Workflow != workflow || a.Queue.Found[0].Position != 0 || a.Ingest.State != find.Absent {
		t.Errorf("of a queued record it says %+v, %+v", a.Queue, a.Ingest)
	}
	if a := s.answer(exitNotFound, "other", "--request", request); a.Queue.State != find.Absent || a.Ingest.State != find.Absent {
		t.Errorf("of a record that is not in the batch it says %+v, %+v", a.Queue, a.Ingest)
	}
	way.mu.Lock()
	way.refuse = ""
	way.mu.Unlock()
	await(t, "the end of the batch", func() bool { return s.answer(0, "left", "--request", request).Ingest.State == find.Absent })
	for _, id := range []string{"streamed", "left"} {
		a := s.answer(0, id, "--request", request)
		if len(a.Stream.Found) != 1 || a.Stream.Found[0] != (find.Position{Shard: "shardId-000000000000", From: find.FromRequest}) || a.Queue.State != find.Absent {
			t.Errorf("of a record in the stream it says %+v, %+v", a.Stream, a.Queue)
		}
	}
	contains(t, "find queued", s.find(0, "queued", "--request", request), "queue    found", "put there by  "+workflow)
	contains(t, "find --request", s.find(0, "--request", request), "ingest   found", workflow, "Completed", "give --tenant and ID")

	// What is further on has left the queue.
	s.index("queued")
	if a := s.answer(0, "queued", "--request", request); a.Queue.State != find.NotSearched || a.Index.State != find.Found {
		t.Errorf("of an indexed record it says %+v", a.Queue)
	}
	if a := s.answer(exitNotFound, "left"); a.Queue.State != find.NotSearched || !strings.Contains(a.Queue.Gaps[0], "--request") {
		t.Errorf("without a request it says %+v", a.Queue)
	}
	halved, half := s.ingest("-2", "queued in half")
	await(t, "the half", func() bool {
		a := s.answer(0, "queued in half", "--request", halved)
		return len(a.Stream.Found) == 1 || len(a.Ingest.Found) == 1 && a.Ingest.Found[0].Workflow == half
	})
}

func TestFindSaysWhatNoBatchCanTell(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	id := requestid.ID{At: time.Now(), Collector: "0a1b2c3d", Number: 1}
	if a := s.answer(exitNotFound, "a", "--request", id.String()); a.Ingest.State != find.NotSearched || !strings.Contains(a.Ingest.Gaps[0], "it has no batch") {
		t.Errorf("of a request without a batch it says %+v", a.Ingest)
	}
	id.Batches, id.More = []requestid.Batch{{UUID: uuid.New()}, {UUID: uuid.New(), Direct: true}}, true
	a := s.answer(exitNotFound, "a", "--request", id.String())
	for n, want := range []string{"more batches than the 2", "past the namespace's retention", "went past Temporal into stream, queue or ledger; collector 0a1b2c3d logs"} {
		if len(a.Queue.Gaps) != 3 || !strings.Contains(a.Queue.Gaps[n], want) {
			t.Errorf("of batches that are not to be asked it says %q", a.Queue.Gaps)
		}
	}
	id.Batches, id.More = id.Batches[:1], false
	away := s
	away.env = append(append([]string{}, s.env...), "TEMPORAL_ADDRESS=127.0.0.1:1")
	if a := away.answer(1, "a", "--request", id.String()); a.Ingest.State != find.Failed || a.Queue.State != find.Failed || a.Batches.State != find.Failed {
		t.Errorf("without Temporal it says %+v", a)
	}
}
