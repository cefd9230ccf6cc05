package backups

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"millrace/internal/awshttp"
	"millrace/internal/backoff"
	"millrace/internal/backup"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
	"millrace/test/kit/made"
	"millrace/test/strict"
)

func TestCopyShardCutsBySizeAndHour(t *testing.T) {
	t.Parallel()
	v := newVault(t, 1000)
	v.Calm = true
	got := copyShard(t, v.archivist(Limits{Bytes: 30_000}), CopyInput{For: time.Hour})
	objects := v.holds(t, 1000)
	if !got.Checkpoint.Closed || got.Counts.Records != 1000 || got.Counts.Objects != int64(objects) || got.Counts.Adopted != 0 || got.Held != 0 {
		t.Errorf("the result is %+v", got)
	}
	// Lines are of about 330 bytes, and the hour ends once.
	if least, most := int(got.Counts.Bytes/30_000), int(got.Counts.Bytes/30_000)+3; objects < least || objects > most {
		t.Errorf("%d bytes are in %d objects", got.Counts.Bytes, objects)
	}
	if got.Counts.Stored == 0 || got.Counts.Stored > got.Counts.Bytes/3 {
		t.Errorf("%d bytes became %d", got.Counts.Bytes, got.Counts.Stored)
	}
	ends := 0
	for key, err := range v.ends.Keys(t.Context(), "s-1000-shardId-000000000000") {
		meta, failed := v.ends.Meta(t.Context(), key)
		if ends++; err != nil || failed != nil || meta["last"] != made.Sequence(999) {
			t.Errorf("that it is complete stands at %s as %v, %v, %v", key, meta, err, failed)
		}
	}
	if ends != 1 {
		t.Errorf("that it is complete stands at %d places", ends)
	}
}

func TestCopyShardWritesWhatHasWaited(t *testing.T) {
	t.Parallel()
	v := newVault(t, 100)
	v.Calm, v.Endless = true, true
	stopping := make(chan struct{})
	go func() {
		defer close(stopping)
		for backoff.Wait(t.Context(), 10*time.Millisecond) {
			for _, err := range v.direct.Keys(t.Context(), "") {
				if err == nil {
					return
				}
			}
		}
	}()
	got := copyShard(t, v.archivist(Limits{Within: 300 * time.Millisecond}), CopyInput{For: time.Hour},
		func(env *testsuite.TestActivityEnvironment) { env.SetWorkerStopChannel(stopping) })
	v.holds(t, 100)
	if got.Checkpoint.Sequence != made.Sequence(99) || got.Checkpoint.Closed {
		t.Errorf("the result is %+v", got)
	}
}

// A call whose time is over ends with an object that is as large as any, and
// one with a shard without records ends, too.
func TestCopyShardEndsWithAnObject(t *testing.T) {
	t.Parallel()
	v := newVault(t, 1000)
	v.Calm, v.Endless = true, true
	got := copyShard(t, v.archivist(Limits{Within: 400 * time.Millisecond}), CopyInput{For: 1})
	at := v.position(got.Checkpoint)
	if v.holds(t, at) != int(got.Counts.Objects) || got.Counts.Objects < 1 || int(got.Counts.Records) != at {
		t.Errorf("at record %d the result is %+v", at, got)
	}
	v.Records = v.Records[:0]
	if got := copyShard(t, v.archivist(Limits{}), CopyInput{For: 1}); got.Counts.Objects > 0 || got.Checkpoint.ReadUpTo.IsZero() {
		t.Errorf("of an idle shard the result is %+v", got)
	}
}

// TestNoGapAndNoDoubleWhateverHappens: writers that know of an older
// checkpoint, zombies beside their successors, each with other boundaries,
// while S3 loses answers and refuses calls.
func TestNoGapAndNoDoubleWhateverHappens(t *testing.T) {
	t.Parallel()
	v := newVault(t, 3000)
	unavailable := faultproxy.Answer{
		Status: http.StatusServiceUnavailable, Header: http.Header{"Content-Type": {"application/xml"}},
		Body: `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>by the fault proxy</Message></Error>`,
	}
	v.proxy.Set(
		faultproxy.Rule{Name: "lost answers", Share: 0.3, Fault: faultproxy.Applied{}},
		faultproxy.Rule{Name: "refusals", Share: 0.2, Fault: unavailable},
	)
	var checkpoints sync.Map // those that were reached: each is a place to begin
	checkpoints.Store(0, CopyResult{})
	writer := func(n int) CopyResult {
		var in CopyInput
		from := n % 3 * 400
		checkpoints.Range(func(at, result any) bool { // the last one before a place
			if at.(int) <= from && at.(int) >= v.position(in.Checkpoint) {
				in.Checkpoint, in.Counts = result.(CopyResult).Checkpoint, result.(CopyResult).Counts
			}
			return true
		})
		in.For = time.Hour
		stopping := make(chan struct{})
		timer := time.AfterFunc(time.Duration(300*(n+1))*time.Millisecond, func() { close(stopping) })
		defer timer.Stop()
		result := copyShard(t, v.archivist(Limits{Bytes: 7_000 + 4_000*(n%5), DrainTimeout: time.Duration(n%3) * time.Second}), in,
			func(env *testsuite.TestActivityEnvironment) { env.SetWorkerStopChannel(stopping) })
		checkpoints.Store(v.position(result.Checkpoint), result)
		return result
	}
	var group sync.WaitGroup
	for n := range 6 {
		group.Go(func() { writer(n) })
	}
	group.Wait()
	v.proxy.Set()
	// No checkpoint is ahead of what is durable: a writer that goes on from it
	// completes the chain.
	checkpoints.Range(func(_, result any) bool {
		r := result.(CopyResult)
		last := copyShard(t, v.archivist(Limits{Bytes: 20_000}), CopyInput{For: time.Hour, Checkpoint: r.Checkpoint, Counts: r.Counts})
		if !last.Checkpoint.Closed || last.Counts.Records != 3000 {
			t.Errorf("from %s the result is %+v", r.Checkpoint.Sequence, last)
		}
		return true
	})
	v.holds(t, 3000)
}

func TestCopyShardGoesOnFromItsHeartbeat(t *testing.T) {
	t.Parallel()
	v := newVault(t, 300)
	v.Calm = true
	first := copyShard(t, v.archivist(Limits{Bytes: 10_000}), CopyInput{For: time.Hour})
	heartbeat := CopyProgress{Checkpoint: telemetry.Checkpoint{Sequence: made.Sequence(299)}, Counts: first.Counts}
	got := copyShard(t, v.archivist(Limits{}), CopyInput{For: time.Hour},
		func(env *testsuite.TestActivityEnvironment) { env.SetHeartbeatDetails(heartbeat) })
	if !got.Checkpoint.Closed || got.Counts != first.Counts {
		t.Errorf("the result is %+v", got)
	}
	v.holds(t, 300)
}

// While the bucket is away the checkpoint stands before what is not durable,
// and what is held stays bounded.
func TestCopyShardSaysThatItWaitsAndThatItNoLongerDoes(t *testing.T) {
	t.Parallel()
	v := newVault(t, 500)
	v.Calm = true
	v.proxy.Set(faultproxy.Rule{Name: "away", Fault: faultproxy.Reset{}})
	limits := Limits{Bytes: 10_000, WaitingAfter: 100 * time.Millisecond, DrainTimeout: time.Second}
	got := copyShard(t, v.archivist(limits), CopyInput{For: time.Hour})
	if !got.Waiting || got.Checkpoint.Sequence != "" || !strings.Contains(got.LastError, storing) || got.Held == 0 || got.Held > 40 {
		t.Fatalf("with the bucket away the result is %+v", got)
	}
	v.proxy.Set()
	got = copyShard(t, v.archivist(limits), CopyInput{For: time.Hour, Waiting: true})
	if got.Waiting || got.Checkpoint.Sequence == "" {
		t.Errorf("with the bucket back the result is %+v", got)
	}
	copyShard(t, v.archivist(limits), CopyInput{For: time.Hour, Checkpoint: got.Checkpoint})
	v.holds(t, 500)
}

// A trimmed range is reported, and what of it another writer had read is not
// written again.
func TestCopyShardReportsWhatWasTrimmed(t *testing.T) {
	t.Parallel()
	v := newVault(t, 500)
	v.Calm = true
	copyShard(t, v.archivist(Limits{Bytes: 10_000}), CopyInput{For: time.Hour})
	v.loss = &stream.Loss{After: made.Sequence(99), Before: made.Sequence(250)}
	got := copyShard(t, v.archivist(Limits{Bytes: 10_000}), CopyInput{For: time.Hour, Checkpoint: telemetry.Checkpoint{Sequence: made.Sequence(249)}})
	if got.Counts.Losses != 1 || len(v.losses) != 1 || v.losses[0].First != made.Sequence(99) || v.losses[0].Last != made.Sequence(250) || v.losses[0].Shard == "" {
		t.Errorf("reported are %+v, the result is %+v", v.losses, got)
	}
	v.holds(t, 500)
}

// TestTheBackupClaimsNoGap where records were trimmed before it had read them:
// a call that ended before it came to a record has not made them forgotten, nor
// has a retention that is long again.
func TestTheBackupClaimsNoGap(t *testing.T) {
	t.Parallel()
	v := newVault(t, 0)
	born := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	k := strict.StartKinesis(t, born, 7*24*time.Hour)
	a := v.archivist(Limits{Within: 100 * time.Millisecond})
	s, err := stream.Open(t.Context(), kinesis.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &k.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""), HTTPClient: awshttp.Wrap(nil),
	}), "strict", stream.Settings{CallsPerSecond: -1, BytesPerSecond: -1})
	if err != nil {
		t.Fatal(err)
	}
	a.Source, a.Stream = Source{Stream: s}, telemetry.StreamID{Name: s.Name(), ARN: s.ARN(), Created: s.Created()}
	k.Pass(time.Hour)
	k.Put(made.Record(0))
	first := copyShard(t, a, CopyInput{For: 1})
	if first.Counts.Records != 1 || first.Counts.Losses != 0 || first.Checkpoint.Arrived.IsZero() {
		t.Fatalf("the first call ends with %+v", first)
	}
	k.Put(made.Record(1)) // no reader has it
	k.Pass(30 * time.Hour)
	k.Keep(24 * time.Hour)
	k.Keep(7 * 24 * time.Hour)
	k.Put(made.Record(2))
	k.EmptyPages = 1000
	interrupted := copyShard(t, a, CopyInput{For: 1, Checkpoint: first.Checkpoint, Counts: first.Counts})
	k.EmptyPages = 0
	second := copyShard(t, a, CopyInput{For: 1, Checkpoint: interrupted.Checkpoint, Counts: interrupted.Counts})
	if second.Counts.Records != 2 || second.Counts.Losses != 1 || len(v.losses) != 1 {
		t.Errorf("the last call ends with %+v, reported are %v", second, v.losses)
	}
	afters := map[string]int{}
	for key, err := range v.direct.Keys(t.Context(), "") {
		text, failed := v.direct.Meta(t.Context(), key)
		if err := errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		afters[text["after"]]++
	}
	if afters[""] != 1 || afters[backup.AfterGap] != 1 {
		t.Errorf("the objects go on behind %v", afters)
	}
}

func TestCopyShardRefusesAnotherStream(t *testing.T) {
	t.Parallel()
	a := NewArchivist(Archivist{Stream: telemetry.StreamID{Name: "s", Created: time.Unix(1, 0)}})
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.RegisterActivity(a.CopyShard)
	if _, err := env.ExecuteActivity(a.CopyShard, CopyInput{Stream: telemetry.StreamID{Name: "s", Created: time.Unix(2, 0)}, For: time.Hour}); err == nil {
		t.Error("it backed up a stream of the same name, created at another time")
	}
}

func TestBackupLimitsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	if err := (Limits{}).withDefaults().Validate(); err != nil {
		t.Error(err)
	}
	for name, l := range map[string]Limits{
		"--backup-bytes": {Bytes: 129 << 20}, "--backup-within": {Within: time.Hour}, "--backup-poll": {Poll: -1},
		"--backup-kms-key": {KMSKey: "k", Encryption: "AES256"}, "--backup-storage-class": {StorageClass: "DEEP_ARCHIVE"},
	} {
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), name) || errors.Unwrap(err) != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnEarlierStreamEndsItsCalls: of a stream that was deleted and made anew nothing
// more is to be had, which is a possible loss behind the checkpoint.
func TestAnEarlierStreamEndsItsCalls(t *testing.T) {
	t.Parallel()
	at := telemetry.Checkpoint{Sequence: made.Sequence(3), ReadUpTo: time.Now().Add(-time.Minute)}
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	v := newVault(t, 0)
	a := v.archivist(Limits{})
	earlier := a.Stream
	a.Stream.Created = a.Stream.Created.Add(time.Hour)
	env.RegisterActivity(a.CopyShard)
	_, err := env.ExecuteActivity(a.CopyShard, CopyInput{Stream: earlier, Shard: "shardId-000000000000", Checkpoint: at, For: time.Hour})
	var copied CopyProgress
	var application *temporal.ApplicationError
	if !errors.As(err, &application) || application.Type() != source.StreamReplaced || !application.NonRetryable() || application.Details(&copied) != nil {
		t.Errorf("the call ends with %v", err)
	}
	if copied.Checkpoint.Sequence != at.Sequence || copied.Counts.Losses != 1 || len(v.losses) != 1 || v.losses[0].First != at.Sequence || !v.losses[0].StreamCreated.Equal(earlier.Created) {
		t.Errorf("the backup ends at %+v, reported are %+v", copied, v.losses)
	}
}
