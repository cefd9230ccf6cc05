package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/ledger"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

var recoverStream = telemetry.StreamID{Name: "s", Created: time.Unix(1_795_392_000, 0).UTC()}

func TestWindowOfARecovery(t *testing.T) {
	t.Parallel()
	began, now := recoverStream.Created.Add(10*time.Hour), recoverStream.Created.Add(12*time.Hour)
	at := func(sequence string) telemetry.Checkpoint {
		return telemetry.Checkpoint{Sequence: sequence, ReadUpTo: began}
	}
	late := telemetry.Checkpoint{Sequence: "5", ReadUpTo: began.Add(-time.Hour)}
	taken := snapshot.Record{Started: began}
	for shard, checkpoint := range map[string]telemetry.Checkpoint{
		"went on": at("10"), "stood still": at("7"), "was behind": late, "is drained": {Sequence: "9", ReadUpTo: began.Add(-5 * time.Hour), Closed: true},
	} {
		taken.Shards = append(taken.Shards, snapshot.Shard{Stream: "s", Created: recoverStream.Created, Shard: shard, Checkpoint: checkpoint})
	}
	taken.Shards = append(taken.Shards, snapshot.Shard{Stream: "s", Created: recoverStream.Created.Add(-time.Hour), Shard: "went on", Checkpoint: at("999")})
	reached := map[string]telemetry.Checkpoint{
		"went on": at("20"), "stood still": at("7"), "was behind": at("30"), "is drained": at("9"), "is new": at("40"), "never read": {},
	}
	spans := map[string][]backup.Span{
		"went on": {{After: "10", Until: "20"}}, "stood still": {}, "was behind": {{After: "5", Until: "30"}}, "is drained": {},
		"is new": {{Until: "40"}}, "never read": {},
	}
	retention := 24 * time.Hour
	got := window(RecoverRequest{}, recoverStream, taken, true, reached, retention, now)
	want := backup.Window{From: late.ReadUpTo, To: now, Stream: "s", Created: recoverStream.Created, Shards: spans, Reach: retention, Earlier: []backup.Generation{
		{Created: recoverStream.Created.Add(-time.Hour), Shards: map[string][]backup.Span{"went on": {{After: "999"}}}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("after a snapshot: %+v, want %+v", got, want)
	}
	// What a ProcessBatch had not ended lies before the checkpoint.
	taken.Open = []telemetry.Range{
		{StreamCreated: recoverStream.Created, Shard: "went on", First: "4", Last: "6"},
		{StreamCreated: recoverStream.Created.Add(-time.Hour), Shard: "went on", First: "1", Last: "2"},
	}
	got = window(RecoverRequest{}, recoverStream, taken, true, reached, retention, now)
	if open := []backup.Span{{After: "10", Until: "20"}, {After: "3", Until: "6"}}; !reflect.DeepEqual(got.Shards["went on"], open) {
		t.Errorf("with open ranges: %+v, want %+v", got.Shards["went on"], open)
	}
	if open := []backup.Span{{After: "999"}, {After: "0", Until: "2"}}; !reflect.DeepEqual(got.Earlier[0].Shards["went on"], open) {
		t.Errorf("with open ranges of an earlier stream: %+v, want %+v", got.Earlier[0].Shards["went on"], open)
	}
	// Without a snapshot everything that was processed is wanted.
	got = window(RecoverRequest{}, recoverStream, snapshot.Record{}, false, reached, retention, now)
	if !got.From.IsZero() || !reflect.DeepEqual(got.Shards["went on"], []backup.Span{{Until: "20"}}) {
		t.Errorf("without a snapshot: %+v", got)
	}
	// A time that is given decides alone.
	got = window(RecoverRequest{From: began}, recoverStream, taken, true, reached, retention, now)
	if got.Shards != nil || !got.From.Equal(began) || !got.To.Equal(now) {
		t.Errorf("from a time on: %+v", got)
	}
}

// TestWindowOfAStreamMadeAnew: the snapshot was taken of an earlier stream, which
// was behind, had a range open, and shards of which no record was read. None
// of that arrived after the snapshot, nor before the stream was made.
func TestWindowOfAStreamMadeAnew(t *testing.T) {
	t.Parallel()
	made, began := recoverStream.Created.Add(-50*time.Hour), recoverStream.Created.Add(-2*time.Hour)
	now, lag := recoverStream.Created.Add(time.Hour), began.Add(-time.Hour)
	shard := func(id string, at telemetry.Checkpoint) snapshot.Shard {
		return snapshot.Shard{Stream: "s", Created: made, Shard: id, Checkpoint: at}
	}
	reached := map[string]telemetry.Checkpoint{"a": {Sequence: "3"}}
	none := []backup.Span{}
	for name, c := range map[string]struct {
		shards  []snapshot.Shard
		open    []telemetry.Range
		earlier map[string][]backup.Span
		from    time.Time
		reach   time.Duration
	}{
		"up to date":        {[]snapshot.Shard{shard("a", telemetry.Checkpoint{Sequence: "9", ReadUpTo: began})}, nil, map[string][]backup.Span{"a": {{After: "9"}}}, began, time.Hour},
		"was behind":        {[]snapshot.Shard{shard("a", telemetry.Checkpoint{Sequence: "9", ReadUpTo: lag})}, nil, map[string][]backup.Span{"a": {{After: "9"}}}, lag, time.Hour},
		"was drained":       {[]snapshot.Shard{shard("a", telemetry.Checkpoint{Sequence: "9", ReadUpTo: lag, Closed: true})}, nil, map[string][]backup.Span{"a": none}, began, time.Hour},
		"had no checkpoint": {[]snapshot.Shard{shard("a", telemetry.Checkpoint{})}, nil, map[string][]backup.Span{"a": {{}}}, began, 48 * time.Hour},
		"had a range open": {
			[]snapshot.Shard{shard("a", telemetry.Checkpoint{Sequence: "9", ReadUpTo: began})}, []telemetry.Range{{StreamCreated: made, Shard: "a", First: "5", Last: "7"}},
			map[string][]backup.Span{"a": {{After: "9"}, {After: "4", Until: "7"}}}, began, 48 * time.Hour,
		},
		"only a range": {nil, []telemetry.Range{{StreamCreated: made, Shard: "a", First: "5", Last: "7"}}, map[string][]backup.Span{"a": {{After: "4", Until: "7"}}}, began, 48 * time.Hour},
	} {
		got := window(RecoverRequest{}, recoverStream, snapshot.Record{Started: began, Shards: c.shards, Open: c.open}, true, reached, time.Hour, now)
		want := backup.Window{
			From: c.from, To: now, Stream: "s", Created: recoverStream.Created, Reach: c.reach,
			Shards: map[string][]backup.Span{"a": {{Until: "3"}}}, Earlier: []backup.Generation{{Created: made, Shards: c.earlier}},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestEntriesThatARecoveryBringsBack(t *testing.T) {
	t.Parallel()
	since := time.Unix(1000, 0)
	records, partly := []ledger.Record{{ID: "1"}}, []ledger.Record{{ID: "1"}, {ID: "2", Ended: ledger.EndedIndexed}}
	began := &ledger.Reprocessing{At: since.Add(-time.Hour)} // it ends when the entry is written again
	for name, c := range map[string]struct {
		entry    ledger.Entry
		modified time.Time
		want     bool
	}{
		"indexed since":     {ledger.Entry{Records: records, Resolution: &ledger.Resolution{How: ledger.HowIndexed, At: since}}, since, true},
		"indexed before":    {ledger.Entry{Records: records, Resolution: &ledger.Resolution{How: ledger.HowIndexed, At: since.Add(-1)}}, since, false},
		"refused again":     {ledger.Entry{Records: records, Resolution: &ledger.Resolution{How: ledger.HowSuperseded, At: since}}, since, false},
		"open":              {ledger.Entry{Records: records}, since, false},
		"open for others":   {ledger.Entry{Records: partly, Reprocessing: began}, since, true},
		"open before":       {ledger.Entry{Records: partly, Reprocessing: began}, since.Add(-1), false},
		"all refused again": {ledger.Entry{Records: records, Reprocessing: began}, since, false},
		"some superseded":   {ledger.Entry{Records: partly, Resolution: &ledger.Resolution{How: ledger.HowSuperseded, At: since}}, since, true},
		"without a payload": {ledger.Entry{Resolution: &ledger.Resolution{How: ledger.HowIndexed, At: since}}, since, false},
	} {
		if got := wantsEntry(c.entry, c.modified, since); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	inStream, never := ledger.Record{Arrived: since, Ended: ledger.EndedIndexed}, ledger.Record{Data: made.Record(1), Ended: ledger.EndedIndexed}
	received := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	all := map[string][]backup.Span{}
	for name, c := range map[string]struct {
		records []ledger.Record
		window  backup.Window
		want    []bool
	}{
		"of an open entry":         {partly, backup.Window{Shards: all}, []bool{false, true}},
		"whatever the time":        {[]ledger.Record{inStream, never}, backup.Window{From: received, Shards: all}, []bool{true, true}},
		"where time alone decides": {[]ledger.Record{inStream, never}, backup.Window{From: received, To: received}, []bool{false, true}},
		"up to a time":             {[]ledger.Record{inStream, never}, backup.Window{To: since}, []bool{true, false}},
	} {
		reader, home := &entryReader{entry: ledger.Entry{Records: c.records}, window: c.window}, []bool{}
		for {
			_, wanted, err := reader.Next()
			if err != nil {
				break
			}
			home = append(home, wanted)
		}
		if !slices.Equal(home, c.want) {
			t.Errorf("%s these records are read: %v", name, home)
		}
	}
}

func TestRequestsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, r := range map[string]RecoverRequest{
		"two snapshots":   {Snapshot: "a", NoSnapshot: true},
		"a wrong pattern": {Indices: []string{"telemetry-["}},
		"two patterns":    {Indices: []string{"a,b"}},
		"a wrong suffix":  {Into: "Drill/1"},
		"into, replacing": {Into: "a", Replace: true},
		"back to front":   {From: now, To: now.Add(-time.Hour)},
	} {
		if r.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := (RecoverRequest{}).Validate(); err != nil {
		t.Errorf("{} is refused: %v", err)
	}
}

// TestAPartIsNotBackfilledIntoWhatIsRestored: the rest of what came after the
// snapshot would be lost with the index that is replaced.
func TestAPartIsNotBackfilledIntoWhatIsRestored(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		request RecoverRequest
		replay  bool
		ok      bool
	}{
		"a tenant":                   {request: RecoverRequest{Tenant: "acme"}},
		"from a time on":             {request: RecoverRequest{From: now}},
		"up to a time, replacing":    {request: RecoverRequest{To: now, Replace: true}},
		"a tenant, into a suffix":    {RecoverRequest{Tenant: "acme", Into: "x"}, false, true},
		"a tenant, without snapshot": {RecoverRequest{Tenant: "acme", From: now, NoSnapshot: true}, false, true},
		"a tenant, replayed":         {RecoverRequest{Tenant: "acme", From: now, To: now.Add(1)}, true, true},
		"everything":                 {ok: true},
	} {
		stopped, cancel := context.WithCancel(t.Context())
		cancel() // what is taken goes no further
		r := &Recoverer{Sweeper: Sweeper{Shards: nowhere{}, Workflows: nowhere{}}, Cluster: &madeUp{}}
		_, err := r.PlanRecovery(stopped, PlanInput{Request: c.request, Replay: c.replay})
		var refused *temporal.ApplicationError
		if is := errors.As(err, &refused) && strings.Contains(err.Error(), "give noSnapshot"); is == c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// nowhere is a stream without workflows to ask.
type nowhere struct {
	StreamShards
	StreamWorkflows
}

func (nowhere) Shards(ctx context.Context) ([]stream.Shard, error) { return nil, ctx.Err() }

// labels are a backup of which only keys and metadata matter.
type labels map[string]map[string]string

func (s labels) List(_ context.Context, prefix string) iter.Seq2[archive.Object, error] {
	return func(yield func(archive.Object, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(s)) {
			if strings.HasPrefix(key, prefix) && !yield(archive.Object{Key: key}, nil) {
				return
			}
		}
	}
}

func (s labels) Read(context.Context, string) (io.ReadCloser, archive.Object, error) {
	return nil, archive.Object{}, fs.ErrNotExist
}

func (s labels) Meta(_ context.Context, key string) (map[string]string, error) { return s[key], nil }

// TestFirehoseIsWaitedFor: for a time, and until it has begun an object behind the
// window's end. Its objects do not say how far they are, where those of
// BackupStream do.
func TestFirehoseIsWaitedFor(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	theirs := func(at time.Time) labels {
		return labels{at.Format("2006/01/02/15") + "/s-1-" + at.Format("2006-01-02-15-04-05") + "-x": nil}
	}
	behind, before := theirs(now), theirs(now.Add(-30*time.Minute))
	ours := func(last string) labels {
		both := maps.Clone(behind)
		at := now.Format(telemetry.ReceivedAtLayout)
		key := backup.Shard{Stream: "s", Created: recoverStream.Created, ID: "shardId-000000000000"}.Key(backup.Record{Sequence: "1", Arrived: now})
		both[key] = map[string]string{"last": last, "count": "1", "bytes": "1", "oldest": at, "newest": at}
		return both
	}
	for name, c := range map[string]struct {
		store   labels
		over    time.Duration // since the window's end
		foreign int64
		gap     string
	}{
		"early":                            {behind, DefaultDelivery - time.Minute, 1, "has not had the time"},
		"late":                             {behind, DefaultDelivery + time.Minute, 1, ""},
		"late, and nothing behind it":      {before, DefaultDelivery + time.Minute, 1, "cannot be known"},
		"early, and nothing behind it":     {before, DefaultDelivery - time.Minute, 1, "cannot be known"},
		"late, only of earlier recoveries": {behind, DefaultDelivery + time.Minute, 0, "has not come to"},
		"beside BackupStream, late":        {ours("19"), DefaultDelivery + time.Minute, 1, "has not come to"},
		"BackupStream is there, and early": {ours("20"), 0, 1, ""},
	} {
		r := &Recoverer{Sweeper: Sweeper{Shards: nowhere{}}, Backup: func(string) backup.Described { return c.store }}
		plan := Plan{Objects: 5, Entries: 2, Foreign: c.foreign, Window: backup.Window{
			From: now.Add(-time.Hour), To: now.Add(-c.over), Stream: "s", Created: recoverStream.Created,
			Shards: map[string][]backup.Span{"shardId-000000000000": {{After: "2", Until: "4"}, {After: "10", Until: "20"}}, "shardId-000000000001": {}},
		}}
		found, err := r.look(t.Context(), plan)
		gaps := found.gaps(plan)
		if err != nil || len(gaps) != min(1, len(c.gap)) || len(gaps) > 0 && !strings.Contains(gaps[0].Reason, c.gap) {
			t.Errorf("%s: %+v, %v", name, gaps, err)
		}
	}
}

// cabinet has the papers of recoveries, and when they were written.
type cabinet struct {
	Bucket
	papers  map[string]any
	written map[string]time.Time
}

func (c cabinet) List(_ context.Context, prefix string) iter.Seq2[archive.Object, error] {
	return func(yield func(archive.Object, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(c.papers)) {
			if strings.HasPrefix(key, prefix) && !yield(archive.Object{Key: key, Modified: c.written[key]}, nil) {
				return
			}
		}
	}
}

func (c cabinet) Get(_ context.Context, key string) ([]byte, error) {
	paper, there := c.papers[key]
	if !there {
		return nil, archive.ErrNotFound
	}
	return json.Marshal(paper)
}

// TestRecoveriesThatWroteAfterASnapshot: what was terminated has no result, and
// counts as long as it may have written something since.
func TestRecoveriesThatWroteAfterASnapshot(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c := cabinet{papers: map[string]any{}, written: map[string]time.Time{}}
	for id, one := range map[string]struct {
		plan  Plan
		ended time.Duration // zero: it has no result
		last  time.Duration // of its papers, behind the snapshot
	}{
		"ended-before":      {ended: -time.Hour, last: -time.Hour},
		"ended-since":       {ended: time.Hour, last: time.Hour},
		"a-copy":            {plan: Plan{Suffix: "-copy"}, ended: time.Hour, last: time.Hour},
		"terminated-since":  {last: time.Hour},
		"terminated-before": {last: -time.Hour},
		"terminated-once":   {last: -25 * time.Hour},
		"itself":            {last: time.Hour},
	} {
		c.papers[Papers(id)+planFile], c.written[Papers(id)+planFile] = one.plan, began.Add(-100*time.Hour)
		report := Papers(id) + "backfill/report/000000-0000.ndjson"
		c.papers[report], c.written[report] = "", began.Add(one.last)
		if one.ended != 0 {
			c.papers[Papers(id)+resultFile] = RecoverResult{Ended: began.Add(one.ended)}
		}
	}
	c.papers[Papers("a-drill")+"drill.json"] = ""
	r := &Recoverer{Sweeper: Sweeper{Bucket: c}}
	got, err := r.earlier(t.Context(), Plan{Papers: Papers("itself"), Began: began})
	if want := []string{Papers("ended-since"), Papers("terminated-before"), Papers("terminated-since")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
