package workflows

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities"
	"millrace/activities/snapshots"
	"millrace/internal/control"
	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// SnapshotInput is the input of SnapshotIndex. Everything is optional.
type SnapshotInput struct {
	// Repository is where the snapshot goes; it is created where it is missing,
	// for which type and settings are needed. Its name is "millrace" when empty.
	Repository index.Repository `json:"repository,omitzero"`
	// Indices are patterns; all telemetry when empty. They must be the same for
	// all snapshots of a repository: what a snapshot lacks that an earlier one
	// has makes it suspect.
	Indices []string `json:"indices,omitempty"`
	// Every is the interval of the schedule; an hour when zero. When no snapshot
	// has succeeded for two of them, the run fails as SnapshotOverdue.
	Every model.Duration `json:"every,omitempty"`
	// Retention of the snapshots in the repository.
	Retention snapshot.Retention `json:"retention,omitzero"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *SnapshotInput) UnmarshalJSON(text []byte) error {
	type plain SnapshotInput
	return in.unknown.decode(text, (*plain)(in))
}

// DefaultSnapshotEvery is how often a snapshot is taken.
const DefaultSnapshotEvery = model.Duration(time.Hour)

// leastSnapshotEvery leaves room for a snapshot of what little has changed.
const leastSnapshotEvery = model.Duration(time.Minute)

// WithDefaults fills what is empty.
func (in SnapshotInput) WithDefaults() SnapshotInput {
	if in.Repository.Name == "" {
		in.Repository.Name = snapshot.DefaultRepository
	}
	if len(in.Indices) == 0 {
		in.Indices = []string{telemetry.IndexPrefix + "*"}
	}
	if in.Every == 0 {
		in.Every = DefaultSnapshotEvery
	}
	in.Retention = in.Retention.WithDefaults()
	return in
}

// Validate reports what cannot work, and what to do about it.
func (in SnapshotInput) Validate() error {
	var errs []error
	if in.Repository.Type != "" { // else it must be there already
		errs = append(errs, in.Repository.Validate())
	}
	for _, pattern := range in.Indices {
		if !strings.HasPrefix(pattern, telemetry.IndexPrefix) {
			errs = append(errs, fmt.Errorf("indices: %q does not begin with %q: only telemetry is taken", pattern, telemetry.IndexPrefix))
		}
	}
	if in.Every < leastSnapshotEvery {
		errs = append(errs, fmt.Errorf("every: %s is less than %s", in.Every, leastSnapshotEvery))
	}
	return errors.Join(append(errs, in.Retention.Validate())...)
}

// Error types of a SnapshotIndex that failed.
const (
	SnapshotFailed  = "SnapshotFailed"  // it is partial, or failed, or could not be taken
	SnapshotSuspect = "SnapshotSuspect" // it was taken, but something is missing since the last good one
	SnapshotOverdue = "SnapshotOverdue" // and none has succeeded for two intervals
)

// stateFailed is the state of a SnapshotIndex, an EnforceRetention or a
// DrillRecovery that failed; one that did not is StateDone.
const stateFailed = "failed"

// SnapshotStatus is what SnapshotIndex answers to the query status, and its
// result.
type SnapshotStatus struct {
	Repository string                  `json:"repository"`
	Name       string                  `json:"name"`
	State      string                  `json:"state"` // of the workflow
	Snapshot   snapshots.SnapshotLook  `json:"snapshot"`
	Begun      snapshots.SnapshotBegun `json:"begun"`
	LastGood   time.Time               `json:"lastGood,omitzero"` // of the last good one when this began
	Expired    snapshots.Expired       `json:"expired,omitzero"`
}

// snapshotting is one run of SnapshotIndex.
type snapshotting struct {
	in     SnapshotInput
	call   snapshots.SnapshotCall
	status SnapshotStatus
	begun  time.Time
}

// SnapshotIndex takes one snapshot of the telemetry indices and templates, and
// keeps beside it where the stream was processed up to before it began. Only
// when every shard is in it, and no index has vanished, it completes; it fails
// otherwise. It follows the snapshot by short activities and timers, so that it
// takes no worker's slot meanwhile. Canceling it ends the snapshot.
//
// Its history has 11 events for each look at the snapshot. The time to the next
// look is a tenth of what has passed, up to five minutes: 75 looks in the first
// hour, 825 events, and 132 events in each further hour.
func SnapshotIndex(ctx workflow.Context, in SnapshotInput) (SnapshotStatus, error) {
	if err := in.unknown.refuse(ctx); err != nil {
		return SnapshotStatus{}, err
	}
	s := &snapshotting{in: in.WithDefaults(), begun: workflow.Now(ctx)}
	name := fmt.Sprintf("telemetry-%s-%.6s", s.begun.UTC().Format("2006.01.02-15.04.05"), workflow.GetInfo(ctx).WorkflowExecution.RunID)
	s.call = snapshots.SnapshotCall{Repository: s.in.Repository, Name: name, Indices: s.in.Indices}
	s.status = SnapshotStatus{Repository: s.in.Repository.Name, Name: name}
	s.show(ctx, control.StateRunning)
	answer := func() (SnapshotStatus, error) { return s.status, nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return s.status, fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	err := s.run(ctx)
	if err == nil {
		s.show(ctx, StateDone)
		return s.status, nil
	}
	if ctx.Err() != nil {
		err = s.abandon(ctx)
	}
	s.show(ctx, stateFailed)
	return s.status, err
}

func (s *snapshotting) run(ctx workflow.Context) error {
	if err := s.in.Validate(); err != nil {
		return temporal.NewNonRetryableApplicationError("the input: "+err.Error(), SnapshotFailed, nil)
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	switch {
	case s.status.Snapshot.State != snapshot.Success:
		return s.fail(ctx, SnapshotFailed, fmt.Errorf("snapshot %s is %s: %s", s.status.Name, s.status.Snapshot.State, s.status.Snapshot.Reason))
	case s.status.Snapshot.Suspect != "":
		return s.fail(ctx, SnapshotSuspect, fmt.Errorf(
			"snapshot %s was taken, but %s. Snapshots are no longer deleted. Recover what is missing; if nothing is, accept it: starter snapshot accept %s",
			s.status.Name, s.status.Snapshot.Suspect, s.status.Name))
	}
	call := snapshots.ExpireCall{Repository: s.in.Repository.Name, Retention: s.in.Retention}
	if err := snapshotStep(ctx, s, "delete old snapshots", snapshots.ExpireSnapshots, call, &s.status.Expired); err != nil {
		return s.fail(ctx, SnapshotFailed, fmt.Errorf("snapshot %s was taken, but old ones could not be deleted: %w", s.status.Name, err))
	}
	return nil
}

// begin takes what must be known of the time before the snapshot, and begins
// it: the checkpoints, and then the open ranges. A range that leaves a shard's
// keeping between the two is in an open workflow then, which Temporal may list
// a little later.
func (s *snapshotting) begin(ctx workflow.Context) error {
	var plan snapshots.SnapshotPlan
	if err := snapshotStep(ctx, s, "where is every shard?", snapshots.PlanSnapshot, s.call, &plan); err != nil {
		return s.fail(ctx, SnapshotFailed, err)
	}
	s.status.LastGood, s.status.Name, s.call.Name = plan.LastGood, plan.Name, plan.Name
	s.status.Snapshot.State = plan.State
	s.show(ctx, control.StateRunning)
	if plan.State != snapshot.Planned { // an earlier run has begun it
		return nil
	}
	if err := workflow.Sleep(ctx, listedWithin); err != nil {
		return err
	}
	if err := snapshotStep(ctx, s, "begin the snapshot", snapshots.BeginSnapshot, s.call, &s.status.Begun); err != nil {
		return s.fail(ctx, SnapshotFailed, err)
	}
	return nil
}

// follow waits until the snapshot has ended.
func (s *snapshotting) follow(ctx workflow.Context) error {
	began := workflow.Now(ctx)
	for {
		if err := snapshotStep(ctx, s, "how far is it?", snapshots.FollowSnapshot, s.call, &s.status.Snapshot); err != nil {
			return s.fail(ctx, SnapshotFailed, err)
		}
		s.show(ctx, control.StateRunning)
		switch s.status.Snapshot.State {
		case snapshot.Success, snapshot.Partial, snapshot.Failed:
			return nil
		}
		if s.patience(ctx) <= 0 {
			return s.fail(ctx, SnapshotFailed, fmt.Errorf(
				"snapshot %s is not complete after %s: it goes on, and the next run will follow it", s.status.Name, workflow.Now(ctx).Sub(s.begun).Round(time.Second)))
		}
		wait := min(max(workflow.Now(ctx).Sub(began)/10, firstLook), longestLook)
		if err := workflow.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// patience is how long the run may still take: two intervals in all.
func (s *snapshotting) patience(ctx workflow.Context) time.Duration {
	return time.Duration(2*s.in.Every) - workflow.Now(ctx).Sub(s.begun)
}

// snapshotStep runs an activity of a snapshot.
func snapshotStep[In, Out any](ctx workflow.Context, s *snapshotting, summary string, step activities.Type[In, Out], in In, result *Out) error {
	if err := step.Execute(s.patiently(ctx, summary), in).Get(ctx, result); err != nil {
		return fmt.Errorf("%s %w", summary, err)
	}
	return nil
}

// patiently has an activity tried again while it fails, for as long as there is
// patience.
func (s *snapshotting) patiently(ctx workflow.Context, summary string) workflow.Context {
	options := snapshotOptions
	options.Summary, options.ScheduleToCloseTimeout = summary, max(s.patience(ctx), leastPatience)
	return workflow.WithActivityOptions(ctx, options)
}

// fail says why the run fails, and whether that has gone on for too long.
func (s *snapshotting) fail(ctx workflow.Context, kind string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	text := err.Error()
	if last := s.status.LastGood; !last.IsZero() {
		if age := workflow.Now(ctx).Sub(last); age >= time.Duration(2*s.in.Every) {
			kind = SnapshotOverdue
			text = fmt.Sprintf("no snapshot has succeeded since %s, that is for %s: %s", last.UTC().Format(time.RFC3339), age.Round(time.Second), text)
		}
	}
	s.status.Snapshot.Reason = text
	return temporal.NewNonRetryableApplicationError(text, kind, err)
}

// abandon ends the snapshot of a run that is canceled.
func (s *snapshotting) abandon(ctx workflow.Context) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if err := snapshots.AbandonSnapshot.Execute(s.patiently(ctx, "end the snapshot"), s.call).Get(ctx, nil); err != nil {
		return fmt.Errorf("end the snapshot: %w", err)
	}
	s.status.Snapshot.State = snapshot.Failed
	return temporal.NewCanceledError(s.status)
}

// show brings up to date what operators see.
func (s *snapshotting) show(ctx workflow.Context, state string) {
	setState(ctx, &s.status.State, state)
	workflow.SetCurrentDetails(ctx, s.status.Markdown())
}

// Markdown shows the status in the Temporal UI.
func (s SnapshotStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	t.row("Snapshot", s.Name+" "+s.Snapshot.State)
	if s.Begun.Indices > 0 {
		t.row("Holds", fmt.Sprintf("%d documents in %d indices, at the least", s.Begun.Documents, s.Begun.Indices))
		t.row("Open ranges", fmt.Sprint(s.Begun.Open))
	}
	if p := s.Snapshot.Progress; p.Shards > 0 {
		t.row("Shards", fmt.Sprintf("%d of %d", p.Done, p.Shards))
		t.row("Copied", fmt.Sprintf("%d of %d bytes; %d bytes are there from earlier ones", p.Copied, p.Bytes, p.Kept))
	}
	t.row("Suspect", s.Snapshot.Suspect)
	t.row("Reason", s.Snapshot.Reason)
	if !s.LastGood.IsZero() {
		t.row("Last good one before", s.LastGood.UTC().Format(time.RFC3339))
	}
	if s.Expired.Deleted > 0 {
		t.row("Deleted", fmt.Sprintf("%d snapshots past their retention", s.Expired.Deleted))
	}
	return "### Snapshot into repository " + s.Repository + "\n\n" + t.String()
}
