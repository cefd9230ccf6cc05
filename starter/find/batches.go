package find

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// Batch is a ProcessBatch that holds the record.
type Batch struct {
	Workflow string `json:"workflow"`
	Shard    string `json:"shard"`
	Sequence string `json:"sequence"`
	// First and Last bound the piece of the batch that the record is in, and that is
	// tried as a whole.
	First    string        `json:"first"`
	Last     string        `json:"last"`
	State    string        `json:"state"`    // of the piece
	Attempts int           `json:"attempts"` // at it, that failed
	Error    outcome.Error `json:"error"`    // of the last one
	Due      time.Time     `json:"due,omitzero"`
}

// Batches are the ProcessBatch workflows of a stream. See Temporal.
type Batches interface {
	// Open returns the ids of those that are open, at most so many, and whether there
	// are others.
	Open(ctx context.Context, most int) (ids []string, more bool, err error)
	Status(ctx context.Context, id string) (workflows.BatchStatus, error)
}

// Stream is the stream that the batches are about. See stream.Stream.
type Stream interface {
	Created() time.Time
	Shards(ctx context.Context) ([]stream.Shard, error)
	Fetch(ctx context.Context, r telemetry.Range) ([]stream.Record, error)
}

const (
	// mostBatches and mostHeld bound the batches, and the records in their ranges, that
	// one question reads from the stream: live readers share its quota.
	mostBatches = 10
	mostHeld    = 20_000
	// batchesAtOnce is how many of them it reads at the same time.
	batchesAtOnce = 4
)

// inBatches looks for the record in the ranges of open batches. That costs reads of the
// stream, so it is done only if the record is not elsewhere.
func (f *Finder) inBatches(ctx context.Context, q Question, a Answer) Search[Batch] {
	switch {
	case q.ID == "" && q.Doc == "" && q.Trace == "":
		return notSearched[Batch](noName)
	case q.Trace != "":
		return notSearched[Batch]("a batch is asked for records by id, not by trace")
	case a.Index.State == Found:
		return notSearched[Batch]("the record is indexed")
	case slices.ContainsFunc(a.Ledger.Found, func(l Letter) bool { return l.Held == "" }):
		return notSearched[Batch]("the ledger has the record")
	case a.Ingest.State == Found || a.Queue.State == Found:
		return notSearched[Batch]("the record is on its way into the stream")
	case f.Batches == nil:
		return notSearched[Batch]("Temporal is not configured")
	}
	ids, more, err := f.Batches.Open(ctx, mostBatches)
	if err != nil {
		return failed[Batch](err)
	}
	if len(ids) == 0 {
		return searched[Batch](nil, false, nil)
	}
	from, err := f.Stream(ctx)
	if err != nil {
		return failed[Batch](err)
	}
	h := holders{
		stream: from, batches: f.Batches, question: q, left: mostHeld,
		copies: a.Ledger.Found, sure: a.Ledger.State == Found || a.Ledger.State == Absent,
	}
	if more {
		h.gaps = append(h.gaps, fmt.Sprintf("the ranges of other open batches than these %d: starter batch list", len(ids)))
	}
	asking, within := errgroup.WithContext(ctx)
	asking.SetLimit(batchesAtOnce)
	for _, id := range ids {
		asking.Go(func() error {
			h.ask(within, id)
			return nil
		})
	}
	_ = asking.Wait() // none fails: what is not known is a gap
	slices.Sort(h.gaps)
	slices.SortFunc(h.found, func(a, b Batch) int { return telemetry.ComparePositions(a.Sequence, b.Sequence) })
	return searched(h.found[:min(len(h.found), q.Most)], len(h.found) > q.Most, h.gaps)
}

// holders collects the batches that hold a record.
type holders struct {
	stream   Stream
	batches  Batches
	question Question
	copies   []Letter // of the record, that a batch has made
	sure     bool     // there are no other copies

	mu    sync.Mutex
	left  int // records that may still be read
	found []Batch
	gaps  []string
}

// ask asks one batch.
func (h *holders) ask(ctx context.Context, id string) {
	status, err := h.batches.Status(ctx, id)
	if err != nil {
		h.gap(fmt.Sprintf("the range of %s: %v", id, err))
		return
	}
	if status.Tree == nil {
		return
	}
	sequences := map[string]bool{}
	for _, l := range h.copies {
		if l.Held == id {
			sequences[l.Sequence] = true
		}
	}
	if !status.Copied || !h.sure {
		records, err := h.read(ctx, status.Range)
		if err != nil {
			h.gap(fmt.Sprintf("the range of %s: %v", id, err))
			return
		}
		for _, r := range records {
			if h.question.is(r.Data) {
				sequences[r.Sequence] = true
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for sequence := range sequences {
		if leaf := status.Tree.Leaf(sequence); leaf != nil { // else it has come to its end
			h.found = append(h.found, Batch{
				Workflow: id, Shard: status.Range.Shard, Sequence: sequence, First: leaf.Range.First, Last: leaf.Range.Last,
				State: leaf.State, Attempts: leaf.Attempts, Error: leaf.Cause, Due: leaf.Due,
			})
		}
	}
}

// read reads the records of a range from the stream.
func (h *holders) read(ctx context.Context, r telemetry.Range) ([]stream.Record, error) {
	h.mu.Lock()
	h.left -= r.Count
	enough := h.left < 0
	h.mu.Unlock()
	if enough {
		return nil, fmt.Errorf("too many records: %d batches have more than %d", mostBatches, mostHeld)
	}
	records, err := h.stream.Fetch(ctx, r)
	if err == nil && len(records) < r.Count {
		h.gap(fmt.Sprintf("%d records of %s that the stream has no longer", r.Count-len(records), r))
	}
	return records, err
}

func (h *holders) gap(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gaps = append(h.gaps, text)
}

// is reports whether a stream record is the one that is asked for.
func (q Question) is(data []byte) bool {
	fields := telemetry.ParseFields(data)
	if q.Tenant != "" && fields.Tenant != q.Tenant {
		return false
	}
	if q.Doc != "" {
		return fields.DocID == q.Doc
	}
	return q.ID != "" && fields.ID == q.ID
}
