package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/activities/supervise"
	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/internal/ledger"
	"millrace/internal/queue"
	"millrace/internal/snapshot"
	"millrace/starter/console"
	"millrace/starter/find"
)

// observed is a pipeline that the console looks at, with what the other commands know.
type observed struct {
	client     client.Client
	aws        lazyAWS
	names      *config.Resources
	namespace  string // of Temporal
	repository string
	logger     *slog.Logger
	by         who
	within     time.Duration

	ended finished
}

// bucket is that of ledger and snapshots.
func (o *observed) bucket(ctx context.Context) (*archive.Bucket, error) {
	cfg, err := o.aws.load(ctx)
	if err != nil {
		return nil, err
	}
	return archive.Open(config.S3(cfg), o.names.Bucket), nil
}

// shards asks the workflows of the shards. Where no worker answers, Temporal still knows
// their states.
func (o *observed) shards(ctx context.Context) (console.Shards, error) {
	status, problem := statusOfStream(ctx, o.client, o.names)
	found := shards{stream: status.Stream, states: status.Shards}
	if problem != nil || status.Stream.Created.IsZero() {
		var err error
		if found, err = listShards(ctx, o.client, o.names); err != nil {
			return console.Shards{}, errors.Join(problem, err)
		}
	}
	found.launcher.Client = o.client
	batches, err := o.batches(ctx)
	if err != nil {
		return console.Shards{}, err
	}
	slices.SortStableFunc(found.states, func(a, b supervise.ShardState) int { return cmp.Compare(urgency(a.State), urgency(b.State)) })
	result := console.Shards{Total: len(found.states), ByState: map[string]int{}, Shards: make([]console.Shard, min(len(found.states), console.MostShards))}
	if problem != nil {
		result.Silent = problem.Error()
	}
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for i := range result.Shards {
		group.Go(func() (err error) {
			result.Shards[i], err = o.shard(looking, found, found.states[i], problem != nil)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return console.Shards{}, err
	}
	for i, state := range found.states {
		if i < len(result.Shards) {
			state.State = result.Shards[i].State
			result.Shards[i].Batches = batches[state.ID]
		}
		result.ByState[orDash(state.State)]++
	}
	slices.SortStableFunc(result.Shards, func(a, b console.Shard) int {
		return cmp.Or(cmp.Compare(urgency(a.State), urgency(b.State)), strings.Compare(a.ID, b.ID))
	})
	return result, nil
}

// urgency sorts the states of shards: those to look at come first.
func urgency(state string) int {
	return slices.Index([]string{
		control.StateDrained, control.StateBlocked, control.StateRunning, "-", "", control.StatePaused, control.StateClosed, control.StateTripped, control.StateWaiting,
	}, state) * -1
}

// shard asks one shard; only Temporal, if no worker answers.
func (*observed) shard(ctx context.Context, all shards, of supervise.ShardState, silent bool) (console.Shard, error) {
	if silent {
		state, err := all.launcher.Look(ctx, all.stream, of.ID)
		return console.Shard{ID: of.ID, State: orDash(cmp.Or(state, of.State))}, err
	}
	status, err := all.status(ctx, of)
	if err != nil && ctx.Err() != nil {
		return console.Shard{}, err
	}
	shown := console.Shard{
		ID: of.ID, State: status.State, Workflow: status.Workflow, ReadUpTo: status.Checkpoint.ReadUpTo, Worker: status.Worker,
		Why: inOneLine(status.LastError, longestDetail), Holds: status.Holds,
	}
	switch {
	case err != nil:
		shown.Why = detailOf(err)
	case status.State == control.StateBlocked:
		shown.Why = "until " + strings.Join(status.Parents, " and ") + " is drained"
	}
	if !status.Checkpoint.ReadUpTo.IsZero() && !status.Checkpoint.Closed {
		shown.Lag = new(status.LagSeconds)
	}
	for _, tenant := range status.Offenders {
		shown.Offenders = append(shown.Offenders, tenant.String())
	}
	return shown, nil
}

// mostBatches bounds the ranges in doubt that are counted.
const mostBatches = 1000

// batches counts the ranges in doubt of each shard.
func (o *observed) batches(ctx context.Context) (map[string]int, error) {
	ids, _, err := find.Temporal{Client: o.client, Stream: o.names.Stream}.Open(ctx, mostBatches)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, id := range ids {
		if parts := strings.Split(id, "/"); len(parts) > 2 { // batch/STREAM/CREATED/SHARD/RANGE
			count[parts[len(parts)-2]]++
		}
	}
	return count, nil
}

// queue asks SQS how much is in the fallback queue, and Redrive how it is.
func (o *observed) queue(ctx context.Context) (q console.Queue, err error) {
	cfg, err := o.aws.load(ctx)
	if err != nil {
		return q, err
	}
	has, err := queue.Describe(ctx, sqs.NewFromConfig(cfg), o.names.Queue)
	if err != nil {
		return q, err
	}
	status, err := statusOfQueue(ctx, o.client, o.names)
	if err != nil {
		return q, err
	}
	return console.Queue{
		Messages: has.Messages, InFlight: has.InFlight, Records: status.Counts.Records, Pace: status.Pace,
		Job: console.Job{
			Workflow: status.Workflow, State: stateOfRun(status.Execution, status.State), Worker: status.Worker,
			LastError: inOneLine(status.LastError, longestDetail), Holds: status.Holds,
		},
	}, nil
}

// stateOfRun is what a workflow says of itself while it runs.
func stateOfRun(execution, state string) string {
	if execution == executionRunning {
		return state
	}
	return strings.ToLower(execution)
}

// backup asks BackupStream and its shards.
func (o *observed) backup(ctx context.Context) (console.Backup, error) {
	status, err := statusOfConsumer(ctx, backingUp(o.client, o.names), o.names)
	if err != nil {
		return console.Backup{}, err
	}
	b := console.Backup{Shards: len(status.Shards), Job: console.Job{Workflow: status.Workflow, State: stateOfRun(status.Execution, status.State), Holds: status.Holds}}
	report := backupReport{streamStatus: status}
	report.Shards = slices.DeleteFunc(report.Shards, func(s supervise.ShardState) bool { return s.State == control.StateDrained })
	report.Shards = report.Shards[:min(len(report.Shards), console.MostShards)]
	if err := report.ask(ctx, o.client); err != nil {
		return console.Backup{}, err
	}
	for _, s := range report.Backups {
		if !s.Checkpoint.ReadUpTo.IsZero() && !s.Checkpoint.Closed && (b.Lag == nil || s.LagSeconds > *b.Lag) {
			b.Lag, b.Worker = new(s.LagSeconds), s.Worker
		}
		if s.State == control.StateWaiting {
			b.Waiting, b.LastError = append(b.Waiting, console.Number(s.Shard)), inOneLine(s.LastError, longestDetail)
		}
	}
	return b, nil
}

// snapshots reads the records of all snapshots.
func (o *observed) snapshots(ctx context.Context) (console.Snapshots, error) {
	s := console.Snapshots{Repository: o.repository}
	bucket, err := o.bucket(ctx)
	if err != nil {
		return s, err
	}
	all, err := snapshot.Open(bucket, o.repository).List(ctx)
	if err != nil || len(all) == 0 {
		return s, err
	}
	show := func(r snapshot.Record) *console.Snapshot {
		return &console.Snapshot{
			Name: r.Name, Started: r.Started, State: r.State, Remark: inOneLine(cmp.Or(r.Suspect, r.Reason), longestDetail),
			Indices: len(r.Indices), Documents: r.Documents(),
		}
	}
	s.Count, s.Last = len(all), show(all[0])
	if good, found := snapshot.LastGood(all, time.Time{}); found {
		s.Good = show(good)
	}
	return s, nil
}

// letters reads the ledger, and who is at work on it.
func (o *observed) letters(ctx context.Context) (d console.DeadLetters, err error) {
	bucket, err := o.bucket(ctx)
	if err != nil {
		return d, err
	}
	book := ledger.New(bucket, o.names.Stream)
	counted, err := countEntries(ctx, book, o.names.Stream)
	if err != nil {
		return d, err
	}
	d.Open, d.More = counted.open, counted.more
	groups, entries, err := dlqList{}.groups(ctx, book, o.names.Stream, console.MostEntries)
	if err != nil {
		return d, err
	}
	d.Read, d.Groups = entries, letterGroups(groups)
	parked, err := listRunning(ctx, o.client, "DrainIndex")
	if err != nil {
		return d, err
	}
	for _, info := range parked {
		id := info.GetExecution().GetWorkflowId()
		d.Parked = append(d.Parked, console.ParkedIndex{Index: strings.TrimPrefix(id, "parked/"), State: stateOf(info), Workflow: id})
	}
	w := reprocessing(o.client, o.names)
	if execution, err := w.execution(ctx); err != nil || execution != executionRunning {
		return d, err
	}
	status, err := liveReprocessing(ctx, w)
	d.Reprocessing = &console.Reprocessing{Workflow: w.id, State: status.State, Progress: progressLine(status)}
	return d, err
}
