package recovery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
	"millrace/test/kit/bucket"
	"millrace/test/kit/made"
)

// keptObjects is a backup in memory, all of whose objects tell nothing but their lines.
type keptObjects struct {
	objects map[string][]byte
	reads   int
}

// List implements backup.Objects.
func (k *keptObjects) List(_ context.Context, prefix string) iter.Seq2[archive.Object, error] {
	return func(yield func(archive.Object, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(k.objects)) {
			if strings.HasPrefix(key, prefix) && !yield(archive.Object{Key: key, Size: int64(len(k.objects[key]))}, nil) {
				return
			}
		}
	}
}

// Read implements backup.Objects.
func (k *keptObjects) Read(_ context.Context, key string) (io.ReadCloser, archive.Object, error) {
	k.reads++
	body, there := k.objects[key]
	if !there {
		return nil, archive.Object{}, archive.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(body)), archive.Object{Key: key, Size: int64(len(body))}, nil
}

// Meta implements backup.Described.
func (*keptObjects) Meta(context.Context, string) (map[string]string, error) { return nil, nil }

// saying is Elasticsearch whose documents say what they are told.
type saying struct {
	SweptDocuments
	has      map[string]sink.Found
	received time.Time
}

// Find implements SweptDocuments.
func (s *saying) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	found := make([]sink.Found, len(documents))
	for i, d := range documents {
		found[i] = s.has[d.ID]
	}
	return found, nil
}

// ReceivedAt implements Origins.
func (s *saying) ReceivedAt(_ context.Context, documents []sink.Reference) ([]time.Time, error) {
	return slices.Repeat([]time.Time{s.received}, len(documents)), nil
}

// Do implements Bulker: what it takes says what the record does.
func (s *saying) Do(_ context.Context, b *sink.Bulk) sink.Result {
	for _, id := range made.Documents(b) {
		s.has[id.String()] = sink.Found{There: true, Digest: 1}
	}
	return sink.Result{Class: outcome.Indexed}
}

// telling is a record that says something.
func telling(id int, at time.Time, digest telemetry.Digest) []byte {
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-log-2026.11.23", ReceivedAt: at, Digest: digest, Tenant: "acme", ID: fmt.Sprint(id), Type: "log", Timestamp: at,
	}, []byte(`{}`))
}

// TestVerifyComparesWhatDocumentsSay: one that says what another record of its id
// did is a conflict, in which the first has won; one that says what no record does
// is a gap.
func TestVerifyComparesWhatDocumentsSay(t *testing.T) {
	t.Parallel()
	const alike, oldRecord, oldDocument, conflict, gap = 0, 1, 2, 3, 4 // the last one is not there
	at := time.Date(2026, 11, 23, 12, 30, 0, 0, time.UTC)
	first := at.Add(-26 * time.Hour)
	id := func(n int) string { return telemetry.DocIDOf(telling(n, at, 1)).String() }
	for name, c := range map[string]struct {
		elsewhere string // where the conflict's first record stands
		searched  int64
		gaps      []string
		why       string
	}{
		"beside it":            {elsewhere: first.Format("2006/01/02/15"), gaps: []string{id(gap)}, why: "has no record of that id"},
		"not in the backup":    {gaps: []string{id(conflict), id(gap)}, why: "has no record of that id"},
		"received much before": {elsewhere: first.Add(-5 * time.Hour).Format("2006/01/02/15"), gaps: []string{id(conflict), id(gap)}, why: "has no record of that id"},
		"too much was read":    {elsewhere: first.Format("2006/01/02/15"), searched: mostSearched, gaps: []string{id(conflict), id(gap)}, why: "was looked for in the backup any more"},
	} {
		store := &keptObjects{objects: map[string][]byte{}}
		var page bytes.Buffer
		for n, digest := range []telemetry.Digest{1, 0, 1, 1, 1, 1} {
			page.Write(append(telling(n, at, digest), '\n'))
		}
		key := backup.Prefix + at.Format("2006/01/02/15") + "/x"
		store.objects[key] = page.Bytes()
		if c.elsewhere != "" {
			store.objects[backup.Prefix+c.elsewhere+"/y"] = append(telling(conflict, first, 7), '\n')
		}
		documents := &saying{received: first, has: map[string]sink.Found{
			id(alike): {There: true, Digest: 1}, id(oldRecord): {There: true, Digest: 9}, id(oldDocument): {There: true},
			id(conflict): {There: true, Digest: 7}, id(gap): {There: true, Digest: 8},
		}}
		s := &Sweeper{
			Documents: documents, DeadLetters: &lastBulk{}, Limiter: limiter.New(1, 0), Backups: store, Bucket: written{papers: map[string][]byte{}},
			Ledger: ledger.New(bucket.New(), "s"),
		}
		plan := Plan{Prefix: backup.Prefix, Suffix: "-copy"}
		call := newSweep(t.Context(), t.Context(), s, SweepInput{Stage: SweepVerify, Papers: "p/"}, plan, []Listed{{Key: key, Size: int64(page.Len()), Whole: true}}, SweepProgress{})
		call.searched.Store(c.searched)
		call.sweep()
		call.call.Abandon()
		p := call.state()
		var gaps []string
		for _, one := range p.Missing {
			gaps = append(gaps, one.ID)
			if !strings.Contains(one.Reason, "its document says something else") || !strings.Contains(one.Reason, c.why) || one.Index != "telemetry-log-2026.11.23-copy" {
				t.Errorf("%s: a gap is %+v", name, one)
			}
		}
		slices.Sort(gaps)
		slices.Sort(c.gaps)
		want := SweepCounts{
			Objects: 1, Bytes: int64(page.Len()), Records: 6, Indexed: 1, Duplicates: 5, Missing: int64(len(c.gaps)),
			Compared: 4, Unchecked: 2, Different: 2,
		}
		if !p.Done || !slices.Equal(gaps, c.gaps) || p.Counts != want {
			t.Errorf("%s: %+v, gaps %v, want %+v, %v", name, p.Counts, gaps, want, c.gaps)
		}
	}
}
