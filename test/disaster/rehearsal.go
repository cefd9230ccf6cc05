package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/internal/load"
	"millrace/internal/telemetry"
	"millrace/test/kit/audit"
	"millrace/test/kit/poll"
	"millrace/test/kit/tap"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// Settings of the pipeline of a rehearsal. Objects of the backup are small and
// are written soon, so that a recovery has several to read.
const (
	shards = 2

	dedupIDs     = "MILLRACE_DEDUP_IDS=1000000" // their memory is taken at once
	backupWithin = "MILLRACE_BACKUP_WITHIN=4s"
	backupBytes  = "MILLRACE_BACKUP_BYTES=524288"
	fsRepository = "MILLRACE_SNAPSHOT_REPOSITORY_TYPE=fs"
	repository   = "MILLRACE_SNAPSHOT_REPOSITORY="
	queues       = "MILLRACE_QUEUES="
)

// liveQueues are those of the worker that serves the live load.
const liveQueues = "ingest,redrive,process,range,index,backup,copy,dead,snapshot"

// rehearsal is a scenario under way, with a pipeline of its own. What recovers has a
// process of its own, as with large pipelines: it is killed, and the delay of
// the live load is to show the recovery, not that.
type rehearsal struct {
	*harness
	scenario
	began     time.Time
	resources config.Resources
	pipeline  *pipeline.Pipeline
	temporal  client.Client
	launcher  launch.Launcher
	key       string
	stores    audit.Stores
	sent      []audit.Sent

	collector, worker, recoverer *pipeline.Program

	live  *traffic
	loads []*traffic

	// What has happened, and when.
	steady, struck, begun, released, verified time.Time
	taken                                     int    // records that the disaster took
	good                                      string // the last good snapshot
	snapped                                   time.Time
	last                                      workflows.RecoverProgress
}

// run runs one scenario: with live load from its beginning to its end.
func (h *harness) run(ctx context.Context, what scenario) (f figures, err error) {
	r := &rehearsal{harness: h, scenario: what, began: time.Now()}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
		return f, err
	}
	r.live = r.traffic("live", time.Now(), load.Settings{Rate: h.options.Rate, For: 24 * time.Hour})
	r.live.start(ctx)
	missed := what.run(ctx, r)
	r.live.Stop()
	if err := errors.Join(<-r.live.ended, missed); err != nil {
		return f, err
	}
	report, err := r.audit(ctx)
	f = r.measure(report)
	if what.paced && h.options.Limit == 0 { // an operator's limit is the operator's choice
		err = errors.Join(err, f.gaveWay())
	}
	return f, err
}

// step is one thing that a scenario does.
type step func(context.Context) error

// do does steps, one after the other.
func do(ctx context.Context, steps ...step) error {
	for _, one := range steps {
		if err := one(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *rehearsal) say(format string, args ...any) {
	fmt.Printf("%-12s %6.1f s  %s\n", r.name, time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// open brings a pipeline up in which nothing has happened yet.
func (r *rehearsal) open(ctx context.Context) error {
	elasticsearch := r.stack.Service(local.Elasticsearch).URL()
	r.stores = audit.Stores{Elasticsearch: elasticsearch, S3: pipeline.S3(r.stack)}
	if _, err := r.deleteIndices(ctx, all); err != nil {
		return err
	}
	name := "rehearsal-" + r.name
	settings, err := pipeline.Apart(ctx, r.stack, r.programs, name)
	if err != nil {
		return err
	}
	r.resources = settings.Resources
	r.stores.Tenant, r.stores.Bucket = name, r.resources.Bucket
	for i, variable := range settings.Servers {
		settings.Servers[i] = strings.ReplaceAll(variable, elasticsearch, r.tap.URL())
	}
	settings.Servers = append(settings.Servers, repository+name, fsRepository)
	settings.Shards = shards
	if r.temporal, err = pipeline.DialQuietly(r.stack.Service(local.Temporal).Address(), name); err != nil {
		return err
	}
	r.launcher = launch.Launcher{Client: r.temporal}
	r.pipeline = pipeline.New(settings)
	if err := r.pipeline.Setup(ctx); err != nil {
		return err
	}
	if r.key, err = r.pipeline.CreateKey(ctx, name); err != nil {
		return err
	}
	if r.collector, err = r.pipeline.StartCollector(ctx); err != nil {
		return err
	}
	if r.worker, err = r.pipeline.StartWorker(ctx, dedupIDs, backupWithin, backupBytes, queues+liveQueues); err != nil {
		return err
	}
	if r.recoverer, err = r.pipeline.StartWorker(ctx, dedupIDs, queues+"recover,sweep"); err != nil {
		return err
	}
	if err := r.pipeline.StartWorkflows(ctx); err != nil {
		return err
	}
	if err := r.pipeline.StartBackup(ctx); err != nil {
		return err
	}
	r.tap.Watch(name, func(s tap.Saved) {
		for _, t := range r.loads {
			t.saved(s)
		}
	})
	return r.pipeline.AwaitShards(ctx)
}

func (r *rehearsal) close() (err error) {
	r.tap.Watch("", nil)
	if r.pipeline != nil {
		err = r.pipeline.Stop()
	}
	if r.temporal != nil {
		r.temporal.Close()
	}
	return err
}

// traffic makes a load that the end of the scenario asks about. Its records say that
// they are from a time on.
func (r *rehearsal) traffic(name string, start time.Time, settings load.Settings) *traffic {
	settings.URL, settings.Key = r.collector.URL, r.key
	t := newTraffic("rehearsal-"+r.name+"-"+name, start, settings)
	r.tap.Locked(func() { r.loads = append(r.loads, t) })
	r.sent = append(r.sent, audit.Sent{Source: t.Source, Accepted: &t.Accepted})
	return t
}

// load posts records as fast as it goes, beside the live load, and waits until
// the good ones are there.
func (r *rehearsal) load(records uint64) step {
	return func(ctx context.Context) error {
		t := r.traffic(fmt.Sprintf("load%d", len(r.loads)), time.Now(), load.Settings{Records: records})
		t.start(ctx)
		if err := <-t.ended; err != nil {
			return err
		}
		r.say("%d records more are accepted", t.Accepted.Len())
		return r.until(ctx, "the records to be indexed", func() (bool, error) { return t.unsaved() == 0, nil })
	}
}

// until polls until a condition holds.
func (r *rehearsal) until(ctx context.Context, what string, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.options.Patience, fmt.Errorf("%s did not happen in time", what))
	defer cancel()
	return poll.Until(ctx, condition)
}

// snapshot takes a good one, as an operator would.
func (r *rehearsal) snapshot(flags ...string) step {
	return func(ctx context.Context) error {
		out, err := r.pipeline.Starter(ctx, append([]string{"snapshot", "take", "--wait", "2m", "--json"}, flags...)...)
		if err != nil {
			return err
		}
		var status workflows.SnapshotStatus
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			return fmt.Errorf("read what became of the snapshot: %w", err)
		}
		r.good, r.snapped = status.Name, time.Now()
		r.say("snapshot %s: %s, %d documents at the least", status.Name, status.Snapshot.State, status.Begun.Documents)
		return nil
	}
}

// badSnapshot has one taken of which the operator is told what is wrong with it.
func (r *rehearsal) badSnapshot(kind, why string) step {
	return func(ctx context.Context) error {
		_, err := r.pipeline.Starter(ctx, "snapshot", "take", "--wait", "2m")
		if err == nil || !strings.Contains(err.Error(), kind) || !strings.Contains(err.Error(), why) {
			return fmt.Errorf("a snapshot that is to fail as %s, %s: %w", kind, why, err)
		}
		r.say("a snapshot fails as %s: %s", kind, why)
		return nil
	}
}

// prepare has records before a snapshot and records after it.
func (r *rehearsal) prepare(flags ...string) step {
	few := max(leastRecords/2, r.options.Records/20)
	return func(ctx context.Context) error { return do(ctx, r.load(few), r.snapshot(flags...), r.load(few)) }
}

// all are the telemetry indices.
const all = telemetry.IndexPrefix + "*"

// indices are those of a pattern, by name, with the id that each has for as long
// as it lives.
func (r *rehearsal) indices(ctx context.Context, pattern string) (map[string]string, error) {
	var listed []struct{ Index, UUID string }
	if err := r.stores.Ask(ctx, http.MethodGet, "/_cat/indices/"+pattern+"?format=json&h=index,uuid", nil, &listed); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, one := range listed {
		found[one.Index] = one.UUID
	}
	return found, nil
}

// deleteIndices deletes those of a pattern, and returns what they were.
func (r *rehearsal) deleteIndices(ctx context.Context, pattern string) (map[string]string, error) {
	found, err := r.indices(ctx, pattern)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	// By name: a pattern may be forbidden.
	return found, r.stores.Ask(ctx, http.MethodDelete, "/"+strings.Join(slices.Collect(maps.Keys(found)), ","), nil, nil)
}

// watch has the live load go on for a while, undisturbed.
func (r *rehearsal) watch(ctx context.Context) error {
	r.steady = time.Now()
	return poll.For(ctx, r.options.Steady)
}

// strike is the disaster: the indices of one type of records are deleted, or
// those of all.
func (r *rehearsal) strike(kind string) step {
	return func(ctx context.Context) error {
		pattern := all
		if kind != "" {
			pattern = telemetry.IndexPrefix + kind + "-*"
		}
		r.struck = time.Now()
		gone, err := r.deleteIndices(ctx, pattern)
		if err != nil {
			return err
		}
		for _, t := range r.loads {
			r.taken += t.savedBy(r.struck, kind)
		}
		left, err := r.indices(ctx, pattern)
		if err != nil {
			return err
		}
		for name, uuid := range left {
			if gone[name] == uuid {
				return fmt.Errorf("the disaster has not taken %s", name)
			}
		}
		if r.taken == 0 {
			return errors.New("the disaster has taken nothing")
		}
		r.say("the disaster: %d indices with %d records are deleted", len(gone), r.taken)
		return nil
	}
}

// audit looks for every record that was accepted, until all are found, or
// patience is over.
func (r *rehearsal) audit(ctx context.Context) (report audit.Report, err error) {
	deadline := time.Now().Add(r.options.Patience)
	if err := poll.Until(ctx, func() (bool, error) {
		unsaved := 0
		for _, t := range r.loads {
			unsaved += t.unsaved()
		}
		if unsaved > 0 && time.Now().Before(deadline) {
			return false, nil
		}
		report, err = audit.Run(ctx, r.stores, r.sent...)
		return report.Lost == 0 || time.Now().After(deadline), err
	}); err != nil {
		return report, err
	}
	err = report.Clean()
	for _, t := range r.loads {
		if c := t.Counts(); c.Refused+c.GivenUp > 0 {
			err = errors.Join(err, fmt.Errorf("the collector refused %d records of %s, and never answered for %d", c.Refused, t.Source.Run, c.GivenUp))
		}
	}
	if report.Bad == 0 || report.DeadLettered != report.Bad {
		err = errors.Join(err, fmt.Errorf("%d bad records were accepted, %d are in the ledger", report.Bad, report.DeadLettered))
	}
	if report.Others > 0 {
		err = errors.Join(err, fmt.Errorf("%d documents are unaccounted for", report.Others))
	}
	return report, err
}
