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
)

// Of the pipeline of a drill. Objects of the backup are small, and written
// soon: so there are some to go through.
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

// drilling is a drill under way, with a pipeline of its own. What recovers has a
// process of its own, as with large pipelines: it is killed, and the delay of
// the live load is to show the recovery, not that.
type drilling struct {
	*harness
	drill
	began     time.Time
	resources config.Resources
	pipeline  *pipeline.Pipeline
	temporal  client.Client
	launcher  workflows.Launcher
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

// run runs one drill: with live load from its beginning to its end.
func (h *harness) run(ctx context.Context, what drill) (f figures, err error) {
	d := &drilling{harness: h, drill: what, began: time.Now()}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.open(ctx); err != nil {
		return f, err
	}
	d.live = d.traffic("live", time.Now(), load.Settings{Rate: h.options.Rate, For: 24 * time.Hour})
	d.live.start(ctx)
	missed := what.run(ctx, d)
	d.live.Stop()
	if err := errors.Join(<-d.live.ended, missed); err != nil {
		return f, err
	}
	report, err := d.audit(ctx)
	f = d.measure(report)
	if what.paced && h.options.Limit == 0 { // an operator's limit is the operator's choice
		err = errors.Join(err, f.gaveWay())
	}
	return f, err
}

// step is something that is done in a drill.
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

func (d *drilling) say(format string, args ...any) {
	fmt.Printf("%-12s %6.1f s  %s\n", d.name, time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// open brings a pipeline up in which nothing has happened yet.
func (d *drilling) open(ctx context.Context) error {
	elasticsearch := d.stack.Service(local.Elasticsearch).URL()
	d.stores = audit.Stores{Elasticsearch: elasticsearch, S3: pipeline.S3(d.stack)}
	if _, err := d.deleteIndices(ctx, all); err != nil {
		return err
	}
	name := "drill-" + d.name
	settings, err := pipeline.Apart(ctx, d.stack, d.programs, name)
	if err != nil {
		return err
	}
	d.resources = settings.Resources
	d.stores.Tenant, d.stores.Bucket = name, d.resources.Bucket
	for i, variable := range settings.Servers {
		settings.Servers[i] = strings.ReplaceAll(variable, elasticsearch, d.tap.URL())
	}
	settings.Servers = append(settings.Servers, repository+name, fsRepository)
	settings.Shards = shards
	if d.temporal, err = pipeline.DialQuietly(d.stack.Service(local.Temporal).Address(), name); err != nil {
		return err
	}
	d.launcher = workflows.Launcher{Client: d.temporal}
	d.pipeline = pipeline.New(settings)
	if err := d.pipeline.Setup(ctx); err != nil {
		return err
	}
	if d.key, err = d.pipeline.CreateKey(ctx, name); err != nil {
		return err
	}
	if d.collector, err = d.pipeline.StartCollector(ctx); err != nil {
		return err
	}
	if d.worker, err = d.pipeline.StartWorker(ctx, dedupIDs, backupWithin, backupBytes, queues+liveQueues); err != nil {
		return err
	}
	if d.recoverer, err = d.pipeline.StartWorker(ctx, dedupIDs, queues+"recover,sweep"); err != nil {
		return err
	}
	if err := d.pipeline.StartWorkflows(ctx); err != nil {
		return err
	}
	if err := d.pipeline.StartBackup(ctx); err != nil {
		return err
	}
	d.tap.Watch(name, func(s tap.Saved) {
		for _, t := range d.loads {
			t.saved(s)
		}
	})
	return d.pipeline.AwaitShards(ctx)
}

func (d *drilling) close() (err error) {
	d.tap.Watch("", nil)
	if d.pipeline != nil {
		err = d.pipeline.Stop()
	}
	if d.temporal != nil {
		d.temporal.Close()
	}
	return err
}

// traffic makes a load that the end of the drill asks about. Its records say that
// they are from a time on.
func (d *drilling) traffic(name string, start time.Time, settings load.Settings) *traffic {
	settings.URL, settings.Key = d.collector.URL, d.key
	t := newTraffic("drill-"+d.name+"-"+name, start, settings)
	d.tap.Locked(func() { d.loads = append(d.loads, t) })
	d.sent = append(d.sent, audit.Sent{Source: t.Source, Accepted: &t.Accepted})
	return t
}

// load posts records as fast as it goes, beside the live load, and waits until
// the good ones are there.
func (d *drilling) load(records uint64) step {
	return func(ctx context.Context) error {
		t := d.traffic(fmt.Sprintf("load%d", len(d.loads)), time.Now(), load.Settings{Records: records})
		t.start(ctx)
		if err := <-t.ended; err != nil {
			return err
		}
		d.say("%d records more are accepted", t.Accepted.Len())
		return d.until(ctx, "the records to be indexed", func() (bool, error) { return t.unsaved() == 0, nil })
	}
}

// until polls until a condition holds.
func (d *drilling) until(ctx context.Context, what string, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d.options.Patience, fmt.Errorf("%s did not happen in time", what))
	defer cancel()
	return poll.Until(ctx, condition)
}

// snapshot takes a good one, as an operator would.
func (d *drilling) snapshot(flags ...string) step {
	return func(ctx context.Context) error {
		out, err := d.pipeline.Starter(ctx, append([]string{"snapshot", "take", "--wait", "2m", "--json"}, flags...)...)
		if err != nil {
			return err
		}
		var status workflows.SnapshotStatus
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			return fmt.Errorf("read what became of the snapshot: %w", err)
		}
		d.good, d.snapped = status.Name, time.Now()
		d.say("snapshot %s: %s, %d documents at the least", status.Name, status.Snapshot.State, status.Begun.Documents)
		return nil
	}
}

// badSnapshot has one taken of which the operator is told what is wrong with it.
func (d *drilling) badSnapshot(kind, why string) step {
	return func(ctx context.Context) error {
		_, err := d.pipeline.Starter(ctx, "snapshot", "take", "--wait", "2m")
		if err == nil || !strings.Contains(err.Error(), kind) || !strings.Contains(err.Error(), why) {
			return fmt.Errorf("a snapshot that is to fail as %s, %s: %w", kind, why, err)
		}
		d.say("a snapshot fails as %s: %s", kind, why)
		return nil
	}
}

// prepare has records before a snapshot and records after it.
func (d *drilling) prepare(flags ...string) step {
	few := max(leastRecords/2, d.options.Records/20)
	return func(ctx context.Context) error { return do(ctx, d.load(few), d.snapshot(flags...), d.load(few)) }
}

// all are the telemetry indices.
const all = telemetry.IndexPrefix + "*"

// indices are those of a pattern, by name, with the id that each has for as long
// as it lives.
func (d *drilling) indices(ctx context.Context, pattern string) (map[string]string, error) {
	var listed []struct{ Index, UUID string }
	if err := d.stores.Ask(ctx, http.MethodGet, "/_cat/indices/"+pattern+"?format=json&h=index,uuid", nil, &listed); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, one := range listed {
		found[one.Index] = one.UUID
	}
	return found, nil
}

// deleteIndices deletes those of a pattern, and returns what they were.
func (d *drilling) deleteIndices(ctx context.Context, pattern string) (map[string]string, error) {
	found, err := d.indices(ctx, pattern)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	// By name: a pattern may be forbidden.
	return found, d.stores.Ask(ctx, http.MethodDelete, "/"+strings.Join(slices.Collect(maps.Keys(found)), ","), nil, nil)
}

// watch has the live load go on for a while, undisturbed.
func (d *drilling) watch(ctx context.Context) error {
	d.steady = time.Now()
	return poll.For(ctx, d.options.Steady)
}

// strike is the disaster: the indices of one type of records are deleted, or
// those of all.
func (d *drilling) strike(kind string) step {
	return func(ctx context.Context) error {
		pattern := all
		if kind != "" {
			pattern = telemetry.IndexPrefix + kind + "-*"
		}
		d.struck = time.Now()
		gone, err := d.deleteIndices(ctx, pattern)
		if err != nil {
			return err
		}
		for _, t := range d.loads {
			d.taken += t.savedBy(d.struck, kind)
		}
		left, err := d.indices(ctx, pattern)
		if err != nil {
			return err
		}
		for name, uuid := range left {
			if gone[name] == uuid {
				return fmt.Errorf("the disaster has not taken %s", name)
			}
		}
		if d.taken == 0 {
			return errors.New("the disaster has taken nothing")
		}
		d.say("the disaster: %d indices with %d records are deleted", len(gone), d.taken)
		return nil
	}
}

// audit looks for every record that was accepted, until all are found, or
// patience is over.
func (d *drilling) audit(ctx context.Context) (report audit.Report, err error) {
	deadline := time.Now().Add(d.options.Patience)
	if err := poll.Until(ctx, func() (bool, error) {
		unsaved := 0
		for _, t := range d.loads {
			unsaved += t.unsaved()
		}
		if unsaved > 0 && time.Now().Before(deadline) {
			return false, nil
		}
		report, err = audit.Run(ctx, d.stores, d.sent...)
		return report.Lost == 0 || time.Now().After(deadline), err
	}); err != nil {
		return report, err
	}
	err = report.Clean()
	for _, t := range d.loads {
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
