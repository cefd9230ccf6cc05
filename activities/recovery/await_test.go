package recovery

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
	"millrace/test/kit/runs"
)

// TestVerifyWaitsForTheBackup: also where no sequence number says how far it is
// to come, but a time. Nine records are in one object, a second apart.
func TestVerifyWaitsForTheBackup(t *testing.T) {
	p := newPlanner(t)
	first := time.Now().Add(-time.Hour).UTC().Truncate(time.Hour)
	shard := backup.Shard{Stream: recoverStream.Name, Created: recoverStream.Created, ID: "shardId-000000000000"}
	chain := backup.Open(p.Backup(backup.Prefix).(backup.Store), shard, "")
	for n := range 9 {
		if err := chain.Add(backup.Record{Sequence: made.Sequence(n), Arrived: first.Add(time.Duration(n) * time.Second), Data: made.Record(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chain.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := func(record, seconds int) writing {
		return func() (telemetry.Checkpoint, error) {
			return telemetry.Checkpoint{Sequence: made.Sequence(record), ReadUpTo: first.Add(time.Duration(seconds) * time.Second)}, nil
		}
	}
	silent := writing(func() (telemetry.Checkpoint, error) { return telemetry.Checkpoint{}, errors.New("no answer") })
	behind := func(what string, want int, backups writing, to int, known map[string][]backup.Span) {
		t.Helper()
		p.Positions = backups
		window := backup.Window{From: first, To: first.Add(time.Duration(to) * time.Second), Stream: shard.Stream, Created: shard.Created, Shards: known}
		found, err := p.look(t.Context(), Plan{Window: window, Prefix: backup.Prefix})
		gaps := found.chains
		if err != nil || len(gaps) != want || want > 0 && gaps[0].Sequence != made.Sequence(8) {
			t.Errorf("%s: %+v, %v", what, gaps, err)
		}
	}
	behind("it is not there yet", 1, at(8, 19), 20, nil)
	behind("it is there", 0, at(8, 20), 20, nil)
	behind("its last object is gone", 1, at(9, 20), 20, nil)
	behind("no answer, and the last object is older", 1, silent, 20, nil)
	behind("no answer, and the last object is of later", 0, silent, -1, nil)
	behind("nothing is wanted", 0, silent, 20, map[string][]backup.Span{shard.ID: {}})
	behind("its end is known, and it is there", 0, silent, 20, map[string][]backup.Span{shard.ID: {{Until: made.Sequence(8)}}})
	behind("its end is known, and it is not there", 1, silent, 20, map[string][]backup.Span{shard.ID: {{Until: made.Sequence(9)}}})
	if err := chain.End(t.Context(), p.Backup(backup.EndsPrefix).(backup.Store)); err != nil {
		t.Fatal(err)
	}
	behind("the shard had no more", 0, silent, 20, nil)

	// It passes while it is waited for.
	p.record(snapshot.Record{})
	plan, err := p.PlanRecovery(t.Context(), PlanInput{ID: "a", Freeze: true, Request: RecoverRequest{NoSnapshot: true, From: first, To: first.Add(24 * time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	p.reached["shardId-000000000001"] = telemetry.Checkpoint{}
	p.Positions = writing(func() (telemetry.Checkpoint, error) {
		asked++
		return telemetry.Checkpoint{Closed: asked > 2}, nil
	})
	result := runs.Must(t, p.AwaitBackup, AwaitInput{Papers: plan.Papers, For: time.Minute})
	if !result.Passed || len(result.Gaps) > 0 || asked != 4 || result.Objects != 1 {
		t.Errorf("%+v, asked %d times", result, asked)
	}
}

// TestTheBackupOfAnEarlierStreamMustBeWhole: its chains must have come to their
// end, or to what was processed of them, as nothing comes to them any more.
func TestTheBackupOfAnEarlierStreamMustBeWhole(t *testing.T) {
	p := newPlanner(t)
	p.Positions = writing(func() (telemetry.Checkpoint, error) { return telemetry.Checkpoint{Closed: true}, nil })
	created := recoverStream.Created.Add(-50 * time.Hour)
	arrived := p.began.Add(-time.Hour).Truncate(time.Hour)
	store, ends := p.Backup(backup.Prefix).(backup.Store), p.Backup(backup.EndsPrefix).(backup.Store)
	write := func(id string, ended bool) backup.Shard {
		t.Helper()
		shard := backup.Shard{Stream: recoverStream.Name, Created: created, ID: id}
		chain := backup.Open(store, shard, "")
		for n := range 9 {
			if err := chain.Add(backup.Record{Sequence: made.Sequence(n), Arrived: arrived.Add(time.Duration(n) * time.Second), Data: made.Record(n)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := chain.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ended {
			if err := chain.End(t.Context(), ends); err != nil {
				t.Fatal(err)
			}
		}
		return shard
	}
	ended, open := write("shardId-000000000001", true), write("shardId-000000000002", false)
	bare := backup.Shard{Stream: recoverStream.Name, Created: created, ID: "shardId-000000000003"}
	behind := []backup.Span{{After: made.Sequence(3)}}
	all := backup.Window{From: arrived, To: time.Now(), Stream: recoverStream.Name, Created: recoverStream.Created}
	for name, c := range map[string]struct {
		of        backup.Shard
		spans     []backup.Span // nil: time decides
		processed int           // negative: unknown
		want      bool          // a gap
	}{
		"ended":                               {ended, behind, -1, false},
		"ended, by time":                      {ended, nil, -1, false},
		"unknown":                             {open, behind, -1, true},
		"unknown, by time":                    {open, nil, -1, true},
		"reached what was processed":          {open, behind, 8, false},
		"reached what was processed, by time": {open, nil, 8, false},
		"did not reach it":                    {open, behind, 9, true},
		"did not reach it, by time":           {open, nil, 9, true},
		"an open range alone":                 {open, []backup.Span{{After: made.Sequence(3), Until: made.Sequence(5)}}, -1, false},
		"an open range that it lacks":         {open, []backup.Span{{After: made.Sequence(7), Until: made.Sequence(9)}}, -1, true},
		"without an object":                   {bare, behind, 4, true},
		"without an object, and stood still":  {bare, behind, 3, false},
		"without an object, and drained":      {bare, []backup.Span{}, -1, false},
		"without an object, by time":          {bare, nil, 4, true},
		"without an object, and older":        {bare, nil, 0, false},
	} {
		w := all
		w.Earlier = []backup.Generation{{Created: created, Shards: map[string][]backup.Span{ended.ID: {}, open.ID: {}, bare.ID: {}}}}
		w.Earlier[0].Shards[c.of.ID] = c.spans
		if c.spans == nil {
			delete(w.Earlier[0].Shards, c.of.ID)
		}
		p.processed = map[backup.Shard]telemetry.Checkpoint{}
		if c.processed >= 0 {
			p.processed[c.of] = telemetry.Checkpoint{Sequence: made.Sequence(c.processed), ReadUpTo: arrived.Add(time.Duration(c.processed-1) * time.Second)}
		}
		plan := Plan{ID: "a", Papers: Papers("a"), Prefix: backup.Prefix, Window: w}
		if err := p.writePaper(t.Context(), plan.Papers+planFile, plan); err != nil {
			t.Fatal(err)
		}
		result := runs.Must(t, p.AwaitBackup, AwaitInput{Papers: plan.Papers, For: time.Minute})
		gap := slices.ContainsFunc(result.Gaps, func(g Gap) bool {
			return g.Shard == c.of.ID && strings.Contains(g.Reason, "nor, as far as is known, to what was processed")
		})
		if gap != c.want || len(result.Gaps) > 1 || !result.Passed {
			t.Errorf("%s: %+v", name, result)
		}
	}
	// A replay asks by time, too.
	p.processed = map[backup.Shard]telemetry.Checkpoint{}
	plan := runs.Must(t, p.PlanRecovery, PlanInput{ID: "b", Replay: true, Freeze: true, Request: RecoverRequest{From: arrived, To: time.Now()}})
	if len(plan.Broken) != 1 || plan.Broken[0].Shard != open.ID || plan.Objects != 2 {
		t.Errorf("a replay lacks %+v of %d objects", plan.Broken, plan.Objects)
	}
}

// TestAReplayOfFirehosesObjects: it is known to lack nothing once an object begins
// behind its window. What only an earlier recovery has listed is none of it.
func TestAReplayOfFirehosesObjects(t *testing.T) {
	p := newPlanner(t)
	p.Positions = writing(func() (telemetry.Checkpoint, error) { return telemetry.Checkpoint{}, errors.New("no answer") })
	put := func(at time.Time) {
		t.Helper()
		key := backup.Prefix + at.Format("2006/01/02/15/") + "s-1-" + at.Format("2006-01-02-15-04-05") + "-x"
		if err := p.Bucket.Put(t.Context(), key, made.Record(1)); err != nil {
			t.Fatal(err)
		}
	}
	to := time.Now().UTC().Add(-3 * time.Hour)
	in := PlanInput{ID: "a", Replay: true, Freeze: true, Request: RecoverRequest{From: to.Add(-time.Hour), To: to}}
	put(to.Add(-30 * time.Minute))
	plan := runs.Must(t, p.PlanRecovery, in)
	if len(plan.Broken) != 1 || !strings.Contains(plan.Broken[0].Reason, "cannot be known") || plan.Foreign != 1 {
		t.Errorf("with nothing behind it: %+v", plan)
	}
	put(to.Add(30 * time.Minute))
	if plan = runs.Must(t, p.PlanRecovery, in); len(plan.Broken) > 0 || plan.Foreign == 0 {
		t.Errorf("with an object behind it: %+v", plan)
	}
	in.Request.From = to.Add(-20 * time.Hour)
	in.Request.To = to.Add(-10 * time.Hour)
	if plan = runs.Must(t, p.PlanRecovery, in); len(plan.Broken) != 1 || !strings.Contains(plan.Broken[0].Reason, "has not come to") {
		t.Errorf("of a time without objects: %+v", plan)
	}
}
