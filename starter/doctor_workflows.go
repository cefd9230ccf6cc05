package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"millrace/internal/control"
	"millrace/internal/ledger"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// failingAttempts is how often an activity may fail before the workflow counts as one that does
// nothing. A worker that is killed costs one.
const failingAttempts = 3

// duty is a workflow that is to run all the time.
type duty struct {
	name  string
	of    endless // without a client: it is only described
	start string  // command that starts it
	show  string  // command that shows who paused it, and why
	// optional: something else may do its work.
	optional string
}

func (e *exam) duties() []duty {
	return []duty{
		{"ProcessStream", processing(nil, e.names), "starter process start", "starter process status, then starter stream resume", ""},
		{"Redrive", redriving(nil, e.names), "starter redrive start", "starter redrive status, then starter redrive resume", ""},
		{"KeepDeadLetters", keeping(nil, e.names), "starter letters start", "starter letters status, then starter letters resume", ""},
		{"BackupStream", backingUp(nil, e.names), "starter backup start", "starter backup status, then starter backup resume", "unless a Firehose writes the backup"},
		{"Reconcile", endless{id: workflows.ReconcileID, queue: workflows.IngestQueue}, "restart a worker, which starts it: see its log", "temporal workflow describe --workflow-id " + workflows.ReconcileID, ""},
	}
}

func (e *exam) workflowChecks() (all []check) {
	const group = "workflows"
	for _, d := range e.duties() {
		all = append(all, check{group: group, name: d.name, do: helpServer, look: func(ctx context.Context) (verdict, error) { return e.onDuty(ctx, d) }})
	}
	return append(all,
		check{group: group, name: "ProcessShard", do: helpServer, look: e.shardsOf("ProcessShard", "process/", "starter shards")},
		check{group: group, name: "BackupShard", do: helpServer, look: e.shardsOf("BackupShard", "backup/", "starter backup status")},
	)
}

// onDuty looks whether a workflow runs, and comes forward. It needs no worker.
func (e *exam) onDuty(ctx context.Context, d duty) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	w := d.of
	described, err := c.DescribeWorkflowExecution(ctx, w.id, "")
	if isNotFound(err) {
		if d.optional != "" {
			return warn(d.start, "%s was never started: it is to run, %s", w.id, d.optional), nil
		}
		return fail(d.start, "%s was never started", w.id), nil
	}
	if err != nil {
		return verdict{}, fmt.Errorf("describe %s: %w", w.id, advise(err, w.queue))
	}
	info := described.GetWorkflowExecutionInfo()
	if !launch.IsOpen(info.GetStatus()) {
		return fail(d.start, "%s does not run: its last run is %s, since %s", w.id, strings.ToLower(info.GetStatus().String()), clock(info.GetCloseTime().AsTime())), nil
	}
	if launch.Paused(described) != nil {
		return warn("temporal workflow unpause --workflow-id "+w.id, "%s is paused in Temporal", w.id), nil
	}
	for _, pending := range described.GetPendingActivities() {
		if v, wrong := stumbles(w.id, pending); wrong {
			return v, nil
		}
	}
	if stateOf(info) == control.StatePaused {
		return warn(d.show, "%s is paused", w.id), nil
	}
	return fine("%s runs, since %s", w.id, clock(info.GetStartTime().AsTime())), nil
}

// stumbles reports whether an activity of a workflow does not come forward.
func stumbles(id string, pending *workflow.PendingActivityInfo) (v verdict, wrong bool) {
	name := pending.GetActivityType().GetName()
	describe := "temporal workflow describe --workflow-id " + id
	switch failure := inOneLine(pending.GetLastFailure().GetMessage(), longestDetail); {
	case pending.GetPaused():
		return warn(fmt.Sprintf("temporal activity unpause --workflow-id %s --activity-id %s", id, pending.GetActivityId()), "%s is paused in Temporal", name), true
	case failure == "":
		return v, false
	case pending.GetAttempt() > failingAttempts:
		return fail(describe, "%s fails, %d times so far: %s", name, pending.GetAttempt()-1, failure), true
	default:
		return warn(describe, "%s failed and is tried again: %s", name, failure), true
	}
}

// shardsOf looks at the workflows of all shards of the stream, as Temporal lists them.
func (e *exam) shardsOf(kind, family, show string) func(context.Context) (verdict, error) {
	return func(ctx context.Context) (verdict, error) {
		c, err := e.temporal.need(ctx)
		if err != nil {
			return verdict{}, err
		}
		running, err := listRunning(ctx, c, kind)
		if err != nil {
			return verdict{}, err
		}
		ours := slices.DeleteFunc(running, func(info *workflow.WorkflowExecutionInfo) bool {
			return !strings.HasPrefix(info.GetExecution().GetWorkflowId(), family+e.names.Stream+"/")
		})
		var idle []string
		for _, info := range ours {
			switch state := stateOf(info); state {
			case control.StateWaiting, control.StatePaused, control.StateTripped:
				idle = append(idle, attribute(info, workflows.Shard.GetName())+" is "+state)
			}
		}
		slices.Sort(idle)
		if more := len(idle) - mostNamed; more > 0 {
			idle = append(idle[:mostNamed], fmt.Sprintf("and %d more", more))
		}
		if len(idle) > 0 {
			return warn(show, "%s; running: %d", strings.Join(idle, ", "), len(ours)), nil
		}
		if len(ours) == 0 {
			return skip("none runs: see the workflow that starts them"), nil
		}
		return fine("running: %d", len(ours)), nil
	}
}

// mostNamed bounds how many things a line names.
const mostNamed = 5

func (e *exam) recordChecks() []check {
	const group = "records"
	return []check{
		{group: group, name: "batches", do: helpServer, look: e.batches},
		{group: group, name: "batches of collectors", do: helpServer, look: e.waitingIngests},
		{group: group, name: "ledger", do: helpAWS, look: e.ledger},
	}
}

// stuckAfter is how long a ProcessBatch may run before it counts as stuck: by default its attempts
// are over within 20 minutes.
const stuckAfter = 30 * time.Minute

// batches looks for ranges in doubt that have been so for long.
func (e *exam) batches(ctx context.Context) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	running, err := listRunning(ctx, c, "ProcessBatch")
	if err != nil {
		return verdict{}, err
	}
	stuck, example := 0, ""
	for _, info := range running {
		if time.Since(info.GetStartTime().AsTime()) > stuckAfter || stateOf(info) == control.StatePaused {
			stuck, example = stuck+1, info.GetExecution().GetWorkflowId()
		}
	}
	if stuck > 0 {
		return warn("starter batch list, then starter batch show "+example, "%d of %d ranges in doubt are paused, or have been so for more than %v", stuck, len(running), stuckAfter), nil
	}
	return fine("ranges in doubt: %d", len(running)), nil
}

// waitingIngests looks for batches that neither the stream nor the queue takes.
func (e *exam) waitingIngests(ctx context.Context) (verdict, error) {
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	query := fmt.Sprintf("WorkflowType = 'IngestBatch' AND %s = '%s' AND %s", workflows.State.GetName(), control.StateWaiting, launch.Open)
	counted, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: e.namespace, Query: query})
	if err != nil {
		return verdict{}, fmt.Errorf("count the batches of collectors: %w", advise(err, ""))
	}
	if n := counted.GetCount(); n > 0 {
		return warn("look at the stream and the fallback queue above; the batches go on once one of them accepts records", "%d wait: neither stream nor queue accepts them", n), nil
	}
	return fine("none waits"), nil
}

// mostEntries bounds how many entries of the ledger are counted.
const mostEntries = 10_000

// ledger counts the open entries, by their keys.
func (e *exam) ledger(ctx context.Context) (verdict, error) {
	bucket, err := e.objects(ctx)
	if err != nil {
		return verdict{}, err
	}
	c, err := countEntries(ctx, ledger.New(bucket, e.names.Stream), e.names.Stream)
	if err != nil {
		return verdict{}, err
	}
	if c.losses > 0 {
		return warn("starter dlq list, then starter dlq show "+c.example, "%s, of which %d say that records may be lost", c, c.losses), nil
	}
	return fine("%s; starter dlq list groups them by error", c), nil
}

// entries are how many of the ledger are open.
type entries struct {
	open, losses int
	example      string // key of a loss
	more         bool
}

// String says how many.
func (e entries) String() string {
	if e.more {
		return fmt.Sprintf("open entries: more than %d", e.open)
	}
	return fmt.Sprintf("open entries: %d", e.open)
}

func countEntries(ctx context.Context, book *ledger.Ledger, stream string) (c entries, err error) {
	for key, err := range book.List(ctx, ledger.Filter{Stream: stream}) {
		if err != nil {
			return c, err
		}
		if c.open == mostEntries {
			c.more = true
			break
		}
		c.open++
		if ledger.IsLoss(key) {
			c.losses, c.example = c.losses+1, key
		}
	}
	return c, nil
}
