package indexing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"millrace/internal/dedup"
	"millrace/internal/limiter"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// digested is Elasticsearch that keeps the digest of each document.
type digested struct {
	documents map[string]telemetry.Digest
	looks     []int // how many documents each was at
	away      error // of looks
}

func (d *digested) Do(_ context.Context, b *sink.Bulk) sink.Result {
	var items []sink.Item
	for position, id := range made.Documents(b) {
		if _, there := d.documents[id.String()]; there {
			items = append(items, sink.Item{Position: position, Class: outcome.Indexed, Duplicate: true})
		} else {
			d.documents[id.String()] = digestOf(b, position)
		}
	}
	return sink.Result{Class: outcome.Indexed, Items: items}
}

// digestOf reads the digest of a document in a bulk.
func digestOf(b *sink.Bulk, position int) telemetry.Digest {
	line := made.Lines(b)[2*position+1]
	_, rest, found := bytes.Cut(line, []byte(`"digest":"`))
	if !found {
		return 0
	}
	digest, err := telemetry.ParseDigest(string(rest[:16]))
	if err != nil {
		panic(err)
	}
	return digest
}

func (d *digested) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	d.looks = append(d.looks, len(documents))
	if d.away != nil {
		return nil, d.away
	}
	found := make([]sink.Found, len(documents))
	for n, of := range documents {
		found[n].Digest, found[n].There = d.documents[of.ID]
	}
	return found, nil
}

// posted is a record of an id that says something; zero: its collector knew no
// digests.
func posted(id int, says telemetry.Digest) stream.Record {
	return stream.Record{Sequence: made.Sequence(id), Data: telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-log-2026.11.23", Digest: says, ReceivedAt: made.Arrival, Tenant: "acme", ID: fmt.Sprint(id), Type: "log", Timestamp: made.Arrival,
	}, []byte(`{}`))}
}

func digestedIndexer(d *digested, rate int) *Indexer {
	return New(Settings{Bulk: d, Lookup: d, Limiter: limiter.New(1, 0), Seen: dedup.New(1000), CompareRate: rate})
}

// settled indexes records in one chunk, and returns what became of them.
func settled(t *testing.T, p *Indexer, records ...stream.Record) Counts {
	t.Helper()
	s := begin(t, p)
	c := &Chunk{Records: records}
	if err := s.Index(c, func(limiter.Feedback) {}); err != nil {
		t.Fatal(err)
	}
	return c.Counts
}

// A record that comes again with the same content is a duplicate, in the cache and in
// Elasticsearch, and one with another content is a conflict.
func TestAConflictIsNoDuplicate(t *testing.T) {
	t.Parallel()
	old, other := posted(1, 0), telemetry.Digest(1<<40|7) // of another one in the upper half alone
	for name, test := range map[string]struct {
		first, then []stream.Record
		forgotten   bool // by the cache
		want        Counts
		looks       int
	}{
		"the cache knows it, the same":        {[]stream.Record{posted(1, 7)}, []stream.Record{posted(1, 7)}, false, Counts{Records: 1, Duplicates: 1}, 0},
		"the cache knows it, another":         {[]stream.Record{posted(1, 7)}, []stream.Record{posted(1, 8)}, false, Counts{Records: 1, Conflicts: 1}, 0},
		"Elasticsearch knows it, the same":    {[]stream.Record{posted(1, 7)}, []stream.Record{posted(1, 7)}, true, Counts{Records: 1, Duplicates: 1}, 1},
		"Elasticsearch knows it, another":     {[]stream.Record{posted(1, 7)}, []stream.Record{posted(1, other)}, true, Counts{Records: 1, Conflicts: 1}, 1},
		"both in one bulk":                    {nil, []stream.Record{posted(1, 7), posted(1, 8), posted(1, 7), posted(2, 7)}, true, Counts{Records: 4, Indexed: 2, Duplicates: 1, Conflicts: 1}, 1},
		"the record is from before digests":   {[]stream.Record{posted(1, 7)}, []stream.Record{old}, true, Counts{Records: 1, Unchecked: 1}, 0},
		"the document is from before digests": {[]stream.Record{old}, []stream.Record{posted(1, 7)}, true, Counts{Records: 1, Unchecked: 1}, 1},
		"the cache knows no digest of it":     {[]stream.Record{old}, []stream.Record{posted(1, 7)}, false, Counts{Records: 1, Unchecked: 1}, 1},
	} {
		server := &digested{documents: map[string]telemetry.Digest{}}
		p := digestedIndexer(server, 100)
		settled(t, p, test.first...)
		if test.forgotten {
			p.Seen.Raise(1)
		}
		if got := settled(t, p, test.then...); got != test.want || len(server.looks) != test.looks {
			t.Errorf("%s: %+v after %d looks", name, got, len(server.looks))
		}
	}
}

// What a look has told once the cache knows.
func TestADocumentIsLookedAtOnce(t *testing.T) {
	t.Parallel()
	server := &digested{documents: map[string]telemetry.Digest{}}
	p := digestedIndexer(server, 100)
	settled(t, p, posted(1, 7))
	p.Seen.Raise(1)
	for range 3 {
		if got := settled(t, p, posted(1, 8)); got.Conflicts != 1 {
			t.Errorf("%+v", got)
		}
	}
	if len(server.looks) != 1 {
		t.Errorf("looked at %v documents", server.looks)
	}
}

// Looks are bounded by a rate that all shards share, and none is repeated: what
// is not known then counts as neither a duplicate nor a conflict.
func TestWhatWasNotLookedAtIsUnchecked(t *testing.T) {
	t.Parallel()
	many := make([]stream.Record, 40)
	for n := range many {
		many[n] = posted(n, 7)
	}
	for name, test := range map[string]struct {
		away  error
		want  Counts
		looks []int
	}{
		"beyond the rate":  {nil, Counts{Records: 40, Duplicates: 15, Unchecked: 25}, []int{15}},
		"it cannot answer": {errors.New("away"), Counts{Records: 40, Unchecked: 40}, []int{15}},
	} {
		server := &digested{documents: map[string]telemetry.Digest{}}
		p := digestedIndexer(server, 15)
		p.comparing.looks.SetLimit(0) // what may be looked at at once, and no time passes
		settled(t, p, many...)
		p.Seen.Raise(1)
		server.away = test.away
		if got := settled(t, p, many...); got != test.want || !slices.Equal(server.looks, test.looks) {
			t.Errorf("%s: %+v after looks at %v", name, got, server.looks)
		}
	}
}

// A conflict is named, as many as the log may have.
func TestConflictsAreNamed(t *testing.T) { // alone: it takes the log
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	server := &digested{documents: map[string]telemetry.Digest{}}
	p := digestedIndexer(server, 1000)
	var first, then []stream.Record
	for n := range 100 {
		first, then = append(first, posted(n, 7)), append(then, posted(n, 8))
	}
	settled(t, p, first...)
	if log.Len() > 0 {
		t.Errorf("without a conflict the log is %s", log.String())
	}
	settled(t, p, then...)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	r, err := telemetry.Parse(then[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"doc_id=" + r.DocID.String(), "index=telemetry-log-2026.11.23", "tenant=acme", "shard=shard"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("the log has no %s: %s", want, lines[0])
		}
	}
	if len(lines) < namedAtOnce || len(lines) > namedAtOnce+2 {
		t.Errorf("of 100 conflicts %d are named", len(lines))
	}
}
