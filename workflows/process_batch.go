package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/process"
	"millrace/internal/control"
	"millrace/internal/indexing"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// What ProcessBatch answers to beside queries. Each update is a signal of the
// same name and input, too.
const (
	Retry = "retry" // input: Branch, or nothing
	Skip  = "skip"  // input: Branch, or nothing
)

// BatchInput is the input of ProcessBatch. All but stream, range and cause is
// optional, or what a run hands over to the next.
type BatchInput struct {
	Stream telemetry.StreamID `json:"stream"`
	Range  telemetry.Range    `json:"range"`
	Cause  outcome.Error      `json:"cause"` // why the range could not be indexed by its shard
	// MaxAttempts is how often a piece is tried before it goes to the ledger;
	// DefaultBatchAttempts when zero. What is transient costs no attempt, and
	// neither does splitting.
	MaxAttempts int `json:"maxAttempts,omitempty"`
	// MaxAge is how long a piece may wait between attempts, all in all, before
	// it goes to the ledger; DefaultBatchAge when zero. Time in which
	// Elasticsearch cannot be reached does not count: an attempt waits it out.
	MaxAge time.Duration `json:"maxAge,omitempty"`
	// CopyAt is when what it still holds is copied to the ledger: at half of the
	// stream's retention, counted from the arrival of the first record. Without
	// it, process.DefaultCopyAfter behind the start.
	CopyAt time.Time       `json:"copyAt,omitzero"`
	Copied bool            `json:"copied,omitempty"` // that has been done
	Tree   *BatchNode      `json:"tree,omitempty"`
	Counts indexing.Counts `json:"counts,omitzero"`
}

// BatchLimits are the settings of ProcessBatch. A batch keeps those with which
// it was started.
type BatchLimits struct {
	Attempts int           `name:"batch-attempts" env:"MILLRACE_BATCH_ATTEMPTS" group:"processing" default:"10" help:"Attempts at a record in doubt before it goes to the ledger. Transient errors cost none."`
	Age      time.Duration `name:"batch-age" env:"MILLRACE_BATCH_AGE" group:"processing" default:"24h" help:"Total time for which a record in doubt may wait between attempts. Time during which Elasticsearch is unreachable does not count."`
}

// Validate reports every limit that cannot work.
func (l BatchLimits) Validate() error {
	var errs []error
	if l.Attempts < 1 {
		errs = append(errs, fmt.Errorf("--batch-attempts: %d is less than 1", l.Attempts))
	}
	if l.Age <= 0 {
		errs = append(errs, fmt.Errorf("--batch-age: %s is not positive", l.Age))
	}
	return errors.Join(errs...)
}

// BatchStatus is what ProcessBatch answers to the query status, and its result.
type BatchStatus struct {
	Range       telemetry.Range `json:"range"`
	Cause       outcome.Error   `json:"cause"`
	State       string          `json:"state"`
	Counts      indexing.Counts `json:"counts"`
	Tree        *BatchNode      `json:"tree"`
	MaxAttempts int             `json:"maxAttempts"`
	CopyAt      time.Time       `json:"copyAt,omitzero"` // when what it holds then is copied to the ledger
	Copied      bool            `json:"copied,omitempty"`
}

// batch is one run of ProcessBatch.
type batch struct {
	in        BatchInput
	state     string
	commands  int                 // that operators have given
	interrupt workflow.CancelFunc // ends the present attempt
	copying   bool                // to the ledger, at this moment
}

// promptChange is the version from which on a ProcessBatch does at once what it
// did later, or never: what operators want of a piece that is being tried.
const promptChange = "prompt"

// prompt reports whether this run is of that version. It is asked only when it
// matters, since the answer costs two events.
func (b *batch) prompt(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, promptChange, workflow.DefaultVersion, 1) > workflow.DefaultVersion
}

// ProcessBatch takes a range that could not be indexed with the rest of its
// shard to its end, while the shard goes on: each of its records is indexed in
// the end, or in the ledger. What cannot be attributed to a record is bisected
// until it can; each piece is retried separately, and waits longer from
// attempt to attempt. An operator may retry a branch at once, or skip it to the
// ledger, which interrupts an attempt at it. Canceling the workflow writes what
// is left to the ledger first. What it still holds at half of the stream's
// retention is copied to the ledger.
func ProcessBatch(ctx workflow.Context, in BatchInput) (BatchStatus, error) {
	b := &batch{in: in}
	if b.in.MaxAttempts <= 0 {
		b.in.MaxAttempts = DefaultBatchAttempts
	}
	if b.in.MaxAge <= 0 {
		b.in.MaxAge = DefaultBatchAge
	}
	if b.in.Tree == nil {
		b.in.Tree = &BatchNode{Range: in.Range, Cause: in.Cause, State: NodeWaiting}
	}
	answer := func() (BatchStatus, error) { return b.status(), nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return b.status(), fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	if err := accept(ctx, []string{Retry, Skip}, b.command); err != nil {
		return b.status(), err
	}
	b.copyInTime(ctx)
	return b.run(ctx)
}

func (b *batch) run(ctx workflow.Context) (BatchStatus, error) {
	for b.in.Tree.open() && ctx.Err() == nil {
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return b.status(), b.continueAsNew(ctx)
		}
		b.show(ctx, control.StateRunning)
		if err := b.round(ctx); err != nil && ctx.Err() == nil {
			return b.status(), err
		}
		if b.in.Tree.open() && ctx.Err() == nil && b.in.Tree.due(workflow.Now(ctx)) == nil {
			b.show(ctx, control.StateWaiting)
			b.wait(ctx)
		}
	}
	if err := b.awaitAll(ctx); err != nil {
		return b.status(), err
	}
	canceled := b.in.Tree.open()
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	for b.in.Tree.open() {
		leaf := b.in.Tree.leaves()[0]
		cause := outcome.Error{
			Type: outcome.TypeCanceled, Reason: "an operator canceled its ProcessBatch; before that: " + leaf.Cause.Type + ": " + leaf.Cause.Reason,
		}
		if err := b.bury(ctx, leaf, cause); err != nil {
			return b.status(), err
		}
	}
	if err := b.release(ctx); err != nil {
		return b.status(), err
	}
	b.show(ctx, control.StateDrained)
	if !canceled {
		return b.status(), nil
	}
	return b.status(), temporal.NewCanceledError(b.status())
}

// continueAsNew hands over to the next run.
func (b *batch) continueAsNew(ctx workflow.Context) error {
	if err := b.awaitAll(ctx); err != nil {
		return err
	}
	for {
		name, branch, got := receiveSignal[Branch](ctx, []string{Retry, Skip})
		if !got {
			return workflow.NewContinueAsNewError(ctx, ProcessBatch, b.in)
		}
		_, err := b.command(ctx, name, branch)
		logFailedSignal(ctx, name, err)
	}
}

// round goes through the pieces whose time has come, also those that come of
// them by splitting, for as long as they fit into the history: a piece that
// fails may be due again before the last one has been tried.
func (b *batch) round(ctx workflow.Context) error {
	for {
		leaf := b.in.Tree.due(workflow.Now(ctx))
		if leaf == nil || ctx.Err() != nil || workflow.GetInfo(ctx).GetContinueAsNewSuggested() && b.prompt(ctx) {
			return nil
		}
		var err error
		if leaf.State == NodeSkipped {
			err = b.bury(ctx, leaf, outcome.Error{
				Type: outcome.TypeSkipped, Reason: "an operator skipped it; before that: " + leaf.Cause.Type + ": " + leaf.Cause.Reason,
			})
		} else {
			err = b.try(ctx, leaf)
		}
		if err != nil {
			return err
		}
	}
}

// try makes one attempt at a piece, which is done after its last one. When it
// is interrupted, it says what it has achieved.
func (b *batch) try(ctx workflow.Context, leaf *BatchNode) error {
	last := leaf.Attempts+1 >= b.in.MaxAttempts || leaf.Waited >= b.in.MaxAge
	leaf.State = NodeRunning
	workflow.SetCurrentDetails(ctx, b.status().Markdown())
	var result process.RangeResult
	room := b.in.Tree.room()
	in := process.RangeInput{Stream: b.in.Stream, Range: leaf.Range, Last: last, Most: room, Untold: leaf.Untold}
	call, interrupt := workflow.WithCancel(workflow.WithActivityOptions(ctx, attemptOptions))
	b.interrupt = interrupt
	defer func() { b.interrupt = nil }()
	err := process.IndexRange.Execute(call, in).Get(ctx, &result)
	unknown := process.RangeResult{Left: []process.LeftRange{{Range: leaf.Range, Cause: leaf.Cause}}, Untold: true}
	switch {
	case err == nil && !result.Accounts(leaf.Range) && ignore(ctx, string(process.IndexRange)):
		result = unknown
	case err == nil:
	case call.Err() != nil: // no worker had taken it, or that died: what it has achieved is unknown
		result = unknown
	default:
		leaf.State = NodeWaiting
		return fmt.Errorf("index %s: %w", leaf.Range, err)
	}
	b.in.Counts.Add(result.Counts)
	leaf.end(result, room, workflow.Now(ctx))
	b.in.Tree.prune()
	return nil
}

// bury writes a piece to the ledger.
func (b *batch) bury(ctx workflow.Context, leaf *BatchNode, cause outcome.Error) error {
	var result process.RangeResult
	in := process.RangeInput{Stream: b.in.Stream, Range: leaf.Range, Cause: cause, Untold: leaf.Untold}
	if err := process.BuryRange.Execute(workflow.WithActivityOptions(ctx, rangeOptions), in).Get(ctx, &result); err != nil {
		leaf.Untold = true
		return fmt.Errorf("write %s to the ledger: %w", leaf.Range, err)
	}
	if !result.Accounts(leaf.Range) && ignore(ctx, string(process.BuryRange)) {
		leaf.Untold = true // and it is still open
		return nil
	}
	b.in.Counts.Add(result.Counts)
	leaf.State = NodeDone
	b.in.Tree.prune()
	return nil
}

// wait waits until the next piece is due, or an operator wants something.
func (b *batch) wait(ctx workflow.Context) {
	began, commands := workflow.Now(ctx), b.commands
	// It fails when the workflow is canceled, which the loop looks at.
	_, _ = workflow.AwaitWithTimeout(ctx, b.in.Tree.next().Sub(began), func() bool { return b.commands > commands })
	passed := workflow.Now(ctx).Sub(began)
	for _, leaf := range b.in.Tree.leaves() {
		leaf.Waited += passed
	}
}

// Branch names a part of the tree by the first and the last sequence number of
// its range, or by how these end, as they are shown, where that is the only
// one. Empty is the whole tree.
type Branch struct {
	First string `json:"first,omitempty"`
	Last  string `json:"last,omitempty"`
}

func (b Branch) is(r telemetry.Range) bool {
	return b == (Branch{}) || b.First == r.First && b.Last == r.Last
}

func (b Branch) ends(r telemetry.Range) bool {
	first, last := strings.TrimPrefix(b.First, cutOff), strings.TrimPrefix(b.Last, cutOff)
	return first != "" && last != "" && strings.HasSuffix(r.First, first) && strings.HasSuffix(r.Last, last)
}

// command retries or skips what is open of a branch.
func (b *batch) command(ctx workflow.Context, name string, branch Branch) (any, error) {
	found := b.in.Tree.find(branch.is)
	if len(found) == 0 {
		if ends := b.in.Tree.find(branch.ends); len(ends) > 0 && b.prompt(ctx) {
			found = ends
		}
	}
	switch {
	case len(found) == 0:
		return nil, temporal.NewApplicationError(fmt.Sprintf("no open branch from %s to %s: see the query %s", branch.First, branch.Last, StatusQuery), "UnknownBranch")
	case len(found) > 1 && !branch.is(found[0].Range):
		return nil, temporal.NewApplicationError(fmt.Sprintf("%d open branches end with %s and %s, like %s and %s: give more digits",
			len(found), branch.First, branch.Last, found[0].Range, found[1].Range), "AmbiguousBranch")
	}
	leaves := found[0].leaves()
	if name == Retry && !slices.ContainsFunc(leaves, func(leaf *BatchNode) bool { return !leaf.givenUp() }) {
		return nil, temporal.NewApplicationError(fmt.Sprintf("%s is on its way to the ledger: reprocess it from there", found[0].Range), "GivenUp")
	}
	for _, leaf := range leaves {
		if leaf.State == NodeRunning && !b.prompt(ctx) {
			continue // it was forgotten
		}
		if leaf.apply(name, workflow.Now(ctx)); leaf.Asked == Skip {
			b.interrupt()
		}
	}
	b.commands++
	return b.status(), nil
}

func (b *batch) status() BatchStatus {
	return BatchStatus{
		Range: b.in.Range, Cause: b.in.Cause, State: b.state,
		Counts: b.in.Counts, Tree: b.in.Tree, MaxAttempts: b.in.MaxAttempts, CopyAt: b.in.CopyAt, Copied: b.in.Copied,
	}
}

// show brings up to date what operators see.
func (b *batch) show(ctx workflow.Context, state string) {
	setState(ctx, &b.state, state)
	workflow.SetCurrentDetails(ctx, b.status().Markdown())
}
