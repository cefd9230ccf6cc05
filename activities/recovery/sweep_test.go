package recovery

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// lastBulk is Elasticsearch at the end of a call: the call's time is over when
// it has taken a bulk, of which it refuses the first document.
type lastBulk struct {
	SweptDocuments
	over func()
	dead []deadletter.Swept
}

func (l *lastBulk) Do(context.Context, *sink.Bulk) sink.Result {
	l.over()
	return sink.Result{Items: []sink.Item{{Class: outcome.Poison, Error: outcome.Error{Type: "document_parsing_exception"}}}}
}

func (l *lastBulk) WriteSwept(_ context.Context, _ string, dead []deadletter.Swept) error {
	l.dead = append(l.dead, dead...)
	return nil
}

// TestWhatWasIndexedIsNotMetAgain: a chunk that Elasticsearch has answered for
// counts, also when the call's time is over by then.
func TestWhatWasIndexedIsNotMetAgain(t *testing.T) {
	documents := &lastBulk{}
	s := &Sweeper{Documents: documents, DeadLetters: documents, Limiter: limiter.New(1, 0)}
	call := newSweep(t.Context(), t.Context(), s, SweepInput{Stage: SweepBackfill}, Plan{}, nil, SweepProgress{})
	defer call.call.Abandon()
	documents.over = func() { call.call.Stop(longcall.ErrStopped) }
	c := &sweepChunk{Chunk: indexing.Chunk{Records: []stream.Record{{Data: made.Record(1)}, {Data: made.Record(2)}}}, lines: make([]backup.Line, 2)}
	if !call.processChunk(c) || c.Counts.Indexed != 1 || len(documents.dead) != 1 || len(c.Dead) != 1 {
		t.Errorf("of two documents it counts %+v and %d dead, and wrote %d", c.Counts, len(c.Dead), len(documents.dead))
	}
}

// TestASweepLeavesTheCanaryOut, also where its tenant or its index is asked for.
func TestASweepLeavesTheCanaryOut(t *testing.T) {
	t.Parallel()
	head := telemetry.Head{
		Index: telemetry.CanaryIndex(time.Now()), ReceivedAt: time.Now(), Tenant: telemetry.CanaryTenant, ID: "1", Type: "event", Timestamp: time.Now(),
	}
	canary := backup.Line{Record: backup.Record{Data: telemetry.AppendRecord(nil, head, []byte(`{}`))}}
	head.Index = telemetry.IndexName("event", time.Now())
	other := backup.Line{Record: backup.Record{Data: telemetry.AppendRecord(nil, head, []byte(`{}`))}}
	for _, plan := range []Plan{{Suffix: "-copy"}, {Suffix: "-copy", Tenant: telemetry.CanaryTenant}, {Suffix: "-copy", Indices: []string{"*"}}} {
		for _, stage := range []string{SweepBackfill, SweepVerify} {
			call := newSweep(t.Context(), t.Context(), &Sweeper{}, SweepInput{Stage: stage}, plan, nil, SweepProgress{})
			if call.chooses(canary) || !call.chooses(other) {
				t.Errorf("%s of %+v takes a record of the canary: %t, and another one: %t", stage, plan, call.chooses(canary), call.chooses(other))
			}
			call.call.Abandon()
		}
	}
}

// archived is a backup of which S3 says about each object what it says about one
// that was moved to an archive.
type archived struct{ backup.Described }

func (archived) Read(context.Context, string) (io.ReadCloser, archive.Object, error) {
	return nil, archive.Object{}, fmt.Errorf("get it: %w: InvalidObjectState", archive.ErrWithheld)
}

// TestASweepGoesOnBehindWhatIsWithheld: it is damaged, and nothing waits for it.
func TestASweepGoesOnBehindWhatIsWithheld(t *testing.T) {
	t.Parallel()
	page := []Listed{{Key: backup.Prefix + "2026/11/23/13/x"}}
	call := newSweep(t.Context(), t.Context(), &Sweeper{Backups: archived{}}, SweepInput{Stage: SweepBackfill}, Plan{Prefix: backup.Prefix}, page, SweepProgress{})
	defer call.call.Abandon()
	read := make(chan bool, 1)
	go func() { read <- call.readObject(0, 0) }()
	select {
	case c := <-call.queue:
		<-c.settled
		if !<-read || !c.last || c.gone || !errors.Is(c.damage, archive.ErrWithheld) {
			t.Errorf("the object ends with %+v", c)
		}
	case <-time.After(time.Minute):
		_, why := call.call.Stall.State()
		t.Errorf("it is waited for: %s", why)
	}
}

// half is a backup of one object.
type half struct {
	backup.Described
	body []byte
	meta map[string]string
}

// Read implements backup.Objects.
func (h half) Read(_ context.Context, key string) (io.ReadCloser, archive.Object, error) {
	return io.NopCloser(bytes.NewReader(h.body)), archive.Object{Key: key, Size: int64(len(h.body)), Meta: h.meta}, nil
}

// Meta implements backup.Described.
func (h half) Meta(context.Context, string) (map[string]string, error) { return h.meta, nil }

// written keeps what a sweep writes down.
type written struct {
	Bucket
	papers map[string][]byte
}

// Put implements Bucket.
func (w written) Put(_ context.Context, key string, body []byte) error {
	w.papers[key] = body
	return nil
}

// indexAll is Elasticsearch that takes everything.
type indexAll struct{ SweptDocuments }

// Do implements Bulker.
func (indexAll) Do(_ context.Context, bulk *sink.Bulk) sink.Result {
	items := make([]sink.Item, bulk.Len())
	for n := range items {
		items[n] = sink.Item{Position: n, Class: outcome.Indexed}
	}
	return sink.Result{Class: outcome.Indexed, Items: items}
}

// TestAReplayOfATruncatedObjectIsNotComplete: nothing verifies it afterwards. An
// object may be cut anywhere, and its text in the middle of a record, or between
// two.
func TestAReplayOfATruncatedObjectIsNotComplete(t *testing.T) {
	t.Parallel()
	const records = 40
	store := &shelved{}
	at := time.Now().UTC().Truncate(time.Hour)
	chain := backup.Open(store, backup.Shard{Stream: "s", Created: recoverStream.Created, ID: "shardId-000000000000"}, "")
	for n := range records {
		if err := chain.Add(backup.Record{Sequence: made.Sequence(n), Arrived: at, Data: made.Record(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chain.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := gunzip(t, store.body)
	between := bytes.LastIndexByte(text[:len(text)/2], '\n') + 1
	left := int64(bytes.Count(text[:between], []byte{'\n'}))
	firehose := gzipped(slices.Concat(made.Record(0), []byte{'\n'}, made.Record(1)))
	for name, c := range map[string]struct {
		object half
		want   int64 // missing; -1: some
	}{
		"whole":                   {half{body: store.body, meta: store.meta}, 0},
		"cut":                     {half{body: store.body[:len(store.body)*2/3], meta: store.meta}, -1},
		"without its checksum":    {half{body: store.body[:len(store.body)-6], meta: store.meta}, 0},
		"packed, between two":     {half{body: gzipped(text[:between]), meta: store.meta}, records - left},
		"packed, within a record": {half{body: gzipped(text[:between-5]), meta: store.meta}, records - left + 1},
		"Firehose's":              {half{body: firehose}, 0},
		"Firehose's, and cut":     {half{body: firehose[:len(firehose)/2]}, -1},
		"Firehose's, in a record": {half{body: slices.Concat(made.Record(0), []byte{'\n'}, made.Record(1)[:50])}, -1},
	} {
		papers := written{papers: map[string][]byte{}}
		s := &Sweeper{Documents: indexAll{}, DeadLetters: &lastBulk{}, Limiter: limiter.New(1, 0), Backups: c.object, Bucket: papers}
		plan := Plan{Prefix: backup.Prefix, Replay: true, Suffix: "-copy", Window: backup.Window{From: time.Unix(0, 0), To: time.Now().Add(time.Hour)}}
		page := []Listed{{Key: backup.Prefix + "2026/11/23/13/x", Size: int64(len(c.object.body))}}
		call := newSweep(t.Context(), t.Context(), s, SweepInput{Stage: SweepBackfill, Papers: "p/"}, plan, page, SweepProgress{})
		call.sweep()
		call.call.Abandon()
		p := call.state()
		missing := p.Counts.Missing == c.want || c.want < 0 && p.Counts.Missing > 0
		if !p.Done || !missing || (len(p.Missing) > 0) != (c.want != 0) || p.Counts.Dead > 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// shelved keeps the last object of a chain.
type shelved struct {
	backup.Store
	body []byte
	meta map[string]string
}

// Keys implements backup.Store.
func (*shelved) Keys(context.Context, string) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}

// PutNew implements backup.Store.
func (s *shelved) PutNew(_ context.Context, _ string, body []byte, meta map[string]string) (bool, error) {
	s.body, s.meta = slices.Clone(body), meta
	return true, nil
}

func gzipped(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

func gunzip(t *testing.T, body []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
