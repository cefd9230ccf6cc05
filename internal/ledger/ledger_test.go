package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

func TestEntryRoundTrips(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	l := ledger.New(bucket, "telemetry")
	for want, e := range map[string]ledger.Entry{
		"ledger/open/telemetry/shardId-000000000001/10-20.1795395723.json": bulk("10", "20"),
		"ledger/open/telemetry/ingest/batch-uuid-3-a256e57bdcbc498f.json": {
			Kind: ledger.Ingest, Batch: "ingest/batch-uuid", Position: 3, At: created,
			Records: []ledger.Record{ledger.NewRecord([]byte("not ours"), outcome.Error{Type: "Foreign", Reason: "the head is missing"})},
		},
		"ledger/open/telemetry/ingest/redrive_id-0-c5bf0bb60ce37c00.json": { // a part of the key is no folder
			Kind: ledger.Ingest, Batch: "redrive/id", At: created, Records: []ledger.Record{ledger.NewRecord([]byte("body"), outcome.Error{Type: "damaged_message"})},
		},
		"ledger/open/telemetry/shardId-000000000001/loss-10-20.1795395723.json": {
			Kind: ledger.Loss, Range: stretch("10", "20"), At: created, Cause: &outcome.Error{Type: "possible_loss", Reason: "trimmed"},
		},
	} {
		key := add(t, l, e)
		if key != want {
			t.Errorf("key %s, want %s", key, want)
		}
		if got, err := l.Get(t.Context(), key); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s holds\n%+v, want\n%+v, error %v", key, got, e, err)
		}
	}
}

// TestEntryFormatIsStable holds the names of members, which other programs and
// later versions read.
func TestEntryFormatIsStable(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	body, err := bucket.Get(t.Context(), add(t, ledger.New(bucket, "telemetry"), bulk("10", "20")))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Kind    string
		Range   telemetry.Range
		Source  string
		At      time.Time
		Records []map[string]any
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Kind != "bulk" || got.Range != stretch("10", "20") || got.Source == "" || !got.At.Equal(created) || len(got.Records) != 2 {
		t.Errorf("entry %+v", got)
	}
	for member, want := range map[string]any{
		"id": "one", "type": "span", "tenant": "acme", "index": "telemetry-span-2026.11.23", "sequence": "10",
		"doc_id": telemetry.NewDocID("acme", "telemetry-span-2026.11.23", "one").String(),
	} {
		if got.Records[0][member] != want {
			t.Errorf("%s is %v, want %v", member, got.Records[0][member], want)
		}
	}
	if got.Records[1]["data"] != "/wAi" {
		t.Errorf("data is %v, want base64", got.Records[1]["data"])
	}
	if cause, _ := got.Records[0]["error"].(map[string]any); cause["type"] != "document_parsing_exception" || cause["reason"] == "" || cause["status"] != 400.0 {
		t.Errorf("error is %v", cause)
	}
}

func TestAddIsIdempotent(t *testing.T) {
	t.Parallel()
	l := ledger.New(newBucket(t), "telemetry")
	first := bulk("10", "20")
	key := add(t, l, first)
	second := bulk("10", "20")
	second.At, second.Records = created.Add(time.Hour), nil
	if again := add(t, l, second); again != key {
		t.Errorf("key %s, then %s", key, again)
	}
	if got, err := l.Get(t.Context(), key); err != nil || !reflect.DeepEqual(got, first) {
		t.Errorf("the entry became %+v, %v", got, err)
	}
}

// TestDifferentRecordsGetDifferentKeys: a writer that meets an entry under its
// key takes its records for safe.
func TestDifferentRecordsGetDifferentKeys(t *testing.T) {
	t.Parallel()
	l := ledger.New(newBucket(t), "telemetry")
	entries := []ledger.Entry{bulk("10", "20"), bulk("10", "30"), bulk("15", "20")}
	for _, change := range []func(*ledger.Entry){
		func(e *ledger.Entry) { e.Range.StreamCreated = created.Add(time.Second) }, // the stream was made anew
		func(e *ledger.Entry) { e.Range.StreamARN += "-2" },
		func(e *ledger.Entry) { e.Range.Shard = "shardId-000000000002" },
		func(e *ledger.Entry) { e.Range.First = telemetry.Position("10", 1) },
		func(e *ledger.Entry) { e.Range.Last = telemetry.Position("20", 1) },
		func(e *ledger.Entry) { e.Kind = ledger.Loss },
		func(e *ledger.Entry) { e.Kind, e.Batch = ledger.Ingest, "a" },
		func(e *ledger.Entry) { e.Kind, e.Batch = ledger.Ingest, "b" },
		func(e *ledger.Entry) { e.Kind, e.Batch, e.Position = ledger.Ingest, "b", 1 },
		func(e *ledger.Entry) { e.Kind, e.Batch, e.Records = ledger.Ingest, "b", e.Records[:1] },
		func(e *ledger.Entry) { e.Kind, e.Batch, e.Records = ledger.Ingest, "redrive/b", e.Records[:1] },
	} {
		e := bulk("10", "20")
		change(&e)
		entries = append(entries, e)
	}
	keys := map[string]bool{}
	for _, e := range entries {
		keys[add(t, l, e)] = true
	}
	if len(keys) != len(entries) {
		t.Errorf("%d entries have %d keys: %v", len(entries), len(keys), keys)
	}
}

func TestListFiltersEntries(t *testing.T) {
	t.Parallel()
	l := ledger.New(newBucket(t), "telemetry")
	first, second := add(t, l, bulk("10", "20")), add(t, l, bulk("30", "40"))
	shard := bulk("10", "20")
	shard.Range.Shard = "shardId-000000000011" // begins like no other, but ends like one
	third := add(t, l, shard)
	stream := bulk("10", "20")
	stream.Range.StreamARN += "-2" // begins like the other stream
	fourth := add(t, l, stream)
	record := bulk("", "")
	record.Kind, record.Batch = ledger.Ingest, "batch"
	fifth := add(t, l, record)
	if err := l.Resolve(t.Context(), second, ledger.Resolution{How: "indexed", At: created}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		filter ledger.Filter
		want   []string
	}{
		{ledger.Filter{}, []string{fourth, fifth, first, third}},
		{ledger.Filter{Stream: "telemetry"}, []string{fifth, first, third}},
		{ledger.Filter{Stream: "telemetry", Shard: "shardId-000000000001"}, []string{first}},
		{ledger.Filter{Stream: "telemetry", Shard: "ingest"}, []string{fifth}},
		{ledger.Filter{Stream: "tele"}, nil},
		{ledger.Filter{Done: true}, []string{"ledger/done/telemetry/shardId-000000000001/30-40.1795395723.json"}},
	} {
		if got := collect(t, l.List(t.Context(), c.filter)); !slices.Equal(got, c.want) {
			t.Errorf("%+v lists %q, want %q", c.filter, got, c.want)
		}
	}
	for key, err := range l.List(t.Context(), ledger.Filter{}) {
		if key != fourth || err != nil {
			t.Errorf("listing began with %s, %v", key, err)
		}
		break
	}
}

func TestResolveMovesEntry(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	l := ledger.New(bucket, "telemetry")
	e := bulk("10", "20")
	key := add(t, l, e)
	resolution := ledger.Resolution{How: "indexed", By: "ada", Note: "mapping repaired", At: created.Add(time.Hour)}
	if err := l.Resolve(t.Context(), key, resolution); err != nil {
		t.Fatal(err)
	}
	e.Resolution = &resolution
	if got, err := l.Get(t.Context(), key); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("the entry became\n%+v, want\n%+v, error %v", got, e, err)
	}
	// Another's resolution, and a late retry of what wrote the entry.
	if err := l.Resolve(t.Context(), key, ledger.Resolution{How: "discarded", At: created}); err != nil {
		t.Error(err)
	}
	if again := add(t, l, bulk("10", "20")); again != key {
		t.Errorf("key %s, then %s", key, again)
	}
	if got, err := l.Get(t.Context(), key); err != nil || got.Resolution == nil || got.Resolution.How != "indexed" {
		t.Errorf("resolved again, it became %+v, %v", got.Resolution, err)
	}
	if opened := collect(t, l.List(t.Context(), ledger.Filter{})); len(opened) > 0 {
		t.Errorf("still open: %q", opened)
	}
	// What a crash between the two steps leaves is cleared by the next attempt.
	body, err := bucket.Get(t.Context(), "ledger/done/telemetry/shardId-000000000001/10-20.1795395723.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	if err := l.Resolve(t.Context(), key, resolution); err != nil {
		t.Error(err)
	}
	if opened := collect(t, l.List(t.Context(), ledger.Filter{})); len(opened) > 0 {
		t.Errorf("open again: %q", opened)
	}
}

// TestResolveNeverLosesEntry stops between any two calls.
func TestResolveNeverLosesEntry(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	key := add(t, ledger.New(bucket, "telemetry"), bulk("10", "20"))
	for calls := range 10 {
		err := ledger.New(&flaky{Store: bucket, left: calls}, "telemetry").Resolve(t.Context(), key, ledger.Resolution{How: "indexed", At: created})
		if e, readErr := ledger.New(bucket, "telemetry").Get(t.Context(), key); readErr != nil || len(e.Records) != 2 {
			t.Fatalf("after %d calls the entry has %d records, %v", calls, len(e.Records), readErr)
		}
		if err == nil {
			if calls < 4 { // look in both places, write, delete
				t.Errorf("resolved with %d calls", calls)
			}
			return
		}
		if !errors.Is(err, errFlaky) {
			t.Errorf("after %d calls: %v", calls, err)
		}
	}
	t.Error("never resolved")
}

func TestMissingEntryIsErrNotExist(t *testing.T) {
	t.Parallel()
	l := ledger.New(newBucket(t), "telemetry")
	const missing = "ledger/open/telemetry/shard/1-2.json"
	if _, err := l.Get(t.Context(), missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v", err)
	}
	if err := l.Resolve(t.Context(), missing, ledger.Resolution{How: "indexed"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("resolve: %v", err)
	}
	for _, key := range []string{"", "ledger/open/", "backup/x.json"} {
		if err := l.Resolve(t.Context(), key, ledger.Resolution{}); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("resolve %q: %v", key, err)
		}
	}
}

func TestStoreFailuresAreReported(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	for calls := range 2 {
		l := ledger.New(&flaky{Store: bucket, left: calls}, "telemetry")
		if _, err := l.Add(t.Context(), bulk("10", "20")); !errors.Is(err, errFlaky) {
			t.Errorf("add after %d calls: %v", calls, err)
		}
	}
	// What cannot be read now is not what is not there.
	once := func() *ledger.Ledger { return ledger.New(&flaky{Store: bucket, once: true}, "telemetry") }
	if _, err := once().Add(t.Context(), bulk("10", "20")); !errors.Is(err, errFlaky) {
		t.Errorf("add without a look at what is done: %v", err)
	}
	if _, err := once().Get(t.Context(), "ledger/open/a"); !errors.Is(err, errFlaky) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get without a look at what is done: %v", err)
	}
	if keys := collect(t, bucket.Keys(t.Context(), "")); len(keys) > 0 {
		t.Errorf("written: %q", keys)
	}
	l := ledger.New(&flaky{Store: bucket}, "telemetry")
	if _, err := l.Get(t.Context(), "ledger/open/a"); !errors.Is(err, errFlaky) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get: %v", err)
	}
	var errs []error
	for _, err := range l.List(t.Context(), ledger.Filter{}) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], errFlaky) {
		t.Errorf("list: %v", errs)
	}
}

var errFlaky = errors.New("the store cannot be reached")

// flaky is a store that fails after some calls, once or for good.
type flaky struct {
	ledger.Store
	mu   sync.Mutex
	left int
	once bool
}

func (f *flaky) spend() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	if f.left < 0 && (!f.once || f.left == -1) {
		return errFlaky
	}
	return nil
}

func (f *flaky) PutNew(ctx context.Context, key string, body []byte, meta map[string]string) (bool, error) {
	if err := f.spend(); err != nil {
		return false, err
	}
	return f.Store.PutNew(ctx, key, body, meta)
}

func (f *flaky) Get(ctx context.Context, key string) ([]byte, error) {
	if err := f.spend(); err != nil {
		return nil, err
	}
	return f.Store.Get(ctx, key)
}

func (f *flaky) Delete(ctx context.Context, key string) error {
	if err := f.spend(); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
}

func (f *flaky) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	if err := f.spend(); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return f.Store.Keys(ctx, prefix)
}

// TestSparseEntriesListTheirPositions: two with the same ends and others between
// them are two entries.
func TestSparseEntriesListTheirPositions(t *testing.T) {
	t.Parallel()
	l := ledger.New(newBucket(t), "telemetry")
	sparse := func(sequences ...string) ledger.Entry {
		e := bulk(sequences[0], sequences[len(sequences)-1])
		e.Sparse, e.Records = true, nil
		for _, sequence := range sequences {
			e.Records = append(e.Records, ledger.Record{Sequence: sequence, Data: []byte("x")})
		}
		return e
	}
	keys := map[string][]string{}
	for _, positions := range [][]string{{"9", "15", "100"}, {"9", "16", "100"}, {"9", "15", "100"}} {
		key, err := l.Add(t.Context(), sparse(positions...))
		if err != nil {
			t.Fatal(err)
		}
		keys[key] = positions
	}
	if len(keys) != 2 {
		t.Fatalf("keys %v", keys)
	}
	for key, want := range keys {
		if got, err := l.Positions(t.Context(), key); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s lists %v, want %v, error %v", key, got, want, err)
		}
		if err := l.Resolve(t.Context(), key, ledger.Resolution{How: "indexed"}); err != nil {
			t.Fatal(err)
		}
		if got, err := l.Positions(t.Context(), key); err != nil || !slices.Equal(got, want) {
			t.Errorf("resolved, %s lists %v, want %v, error %v", key, got, want, err)
		}
	}
}
