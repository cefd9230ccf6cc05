package find

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"millrace/internal/requestid"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// Ingest is the batch of a collector that has the record in its input, and is not
// through with it.
type Ingest struct {
	Workflow string `json:"workflow"`
	State    string `json:"state"`    // of the workflow, in Temporal
	Position int    `json:"position"` // of the record in the batch; -1 where no record is asked for
	Records  int    `json:"records"`  // of the batch
	// Left is how many of them are neither in the stream nor in the queue yet; -1: no
	// worker has said.
	Left int `json:"left"`
}

// Queued is the record in the fallback queue, where Redrive takes it from.
type Queued struct {
	Workflow string    `json:"workflow"` // that has put it there
	Position int       `json:"position"` // of the record in its batch
	At       time.Time `json:"at,omitzero"`
}

// IngestRun is the last run of an IngestBatch.
type IngestRun struct {
	State   enums.WorkflowExecutionStatus
	Open    bool
	Closed  time.Time
	Status  workflows.IngestStatus
	Known   bool // the status is
	Records [][]byte
}

// Ingests are the IngestBatch workflows. See Temporal.
type Ingests interface {
	// Ingest returns the last run of one. The error wraps a *serviceerror.NotFound where
	// Temporal has none of that id.
	Ingest(ctx context.Context, id string) (IngestRun, error)
}

// mostHalves bounds how often a batch that was too large for one workflow was halved.
const mostHalves = 3

// request is what the batches of a request say about the record.
type request struct {
	ingest   []Ingest
	queued   []Queued
	gaps     []string
	err      error
	none     string // why there is nothing to ask
	put      bool   // a batch has put the record into the stream
	doc      string // of the record, if a batch has it
	received time.Time
}

// ofRequest asks the batches of the request.
func (f *Finder) ofRequest(ctx context.Context, q Question) (r request) {
	switch {
	case q.Request == "":
		r.none = "without the request's id (X-Request-Id of the answer) its batch is not known: give --request"
		return r
	case f.Ingests == nil:
		r.none = "Temporal is not configured"
		return r
	}
	id, err := requestid.Parse(q.Request)
	if err != nil {
		r.err = err
		return r
	}
	if len(id.Batches) == 0 {
		r.none = "the collector took no record of the request: it has no batch"
		return r
	}
	if id.More {
		r.gaps = append(r.gaps, fmt.Sprintf("more batches than the %d that the request's id names", len(id.Batches)))
	}
	for _, b := range id.Batches {
		workflow := workflows.IngestID(b.UUID.String())
		if b.Direct {
			r.gaps = append(r.gaps, fmt.Sprintf("%s, which went past Temporal into stream, queue or ledger; collector %s logs what it did", workflow, id.Collector))
			continue
		}
		if asked := f.askIngest(ctx, q, workflow, mostHalves, &r); r.err == nil && !asked {
			r.gaps = append(r.gaps, workflow+", which Temporal does not have: it is past the namespace's retention")
		}
	}
	return r
}

// askIngest asks a batch, or its halves, and reports whether Temporal has it.
func (f *Finder) askIngest(ctx context.Context, q Question, id string, halves int, r *request) bool {
	run, err := f.Ingests.Ingest(ctx, id)
	var notFound *serviceerror.NotFound
	if errors.As(err, &notFound) {
		if halves == 0 {
			return false
		}
		first := f.askIngest(ctx, q, id+"-1", halves-1, r)
		return f.askIngest(ctx, q, id+"-2", halves-1, r) || first
	}
	if err != nil {
		r.err = errors.Join(r.err, err)
		return true
	}
	left := -1
	if run.Known {
		left = run.Status.Left
	}
	found := Ingest{Workflow: id, State: run.State.String(), Position: -1, Records: len(run.Records), Left: left}
	if q.ID == "" && q.Doc == "" {
		r.ingest = append(r.ingest, found)
		return true
	}
	for position, data := range run.Records {
		if !q.is(data) {
			continue
		}
		if parsed, err := telemetry.Parse(data); err == nil {
			r.doc, r.received = parsed.DocID.String(), parsed.ReceivedAt
		}
		switch {
		case slices.Contains(run.Status.Queued, position):
			r.queued = append(r.queued, Queued{Workflow: id, Position: position, At: run.Closed})
		case run.State != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED && run.State != enums.WORKFLOW_EXECUTION_STATUS_CANCELED:
			found.Position = position
			r.ingest = append(r.ingest, found)
		case run.State == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:
			r.put = true
		}
	}
	return true
}

// answers are those about IngestBatch workflows and about the queue. A record that is
// further on has left both.
func (r request) answers(a Answer) (Search[Ingest], Search[Queued]) {
	further := ""
	switch {
	case a.Index.State == Found:
		further = "the record is indexed"
	case slices.ContainsFunc(a.Ledger.Found, func(l Letter) bool { return l.Held == "" }):
		further = "the ledger has the record"
	}
	switch {
	case r.none != "":
		return notSearched[Ingest](r.none), notSearched[Queued](r.none)
	case r.err != nil:
		return failed[Ingest](r.err), failed[Queued](r.err)
	case further != "":
		return notSearched[Ingest](further), notSearched[Queued](further)
	}
	return searched(r.ingest, false, r.gaps), searched(r.queued, false, r.gaps)
}
