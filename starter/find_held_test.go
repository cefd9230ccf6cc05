package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local/localtest"
	"millrace/internal/backup"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/starter/find"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// put makes the stream of a shelf, with records of these ids in its only shard, and
// returns the records.
func (s shelf) put(ids ...string) (*stream.Stream, []stream.Record) {
	s.t.Helper()
	client := kinesis.NewFromConfig(localtest.AWS(s.t))
	if _, err := stream.Create(s.Context(), client, s.Kind, 1, 24*time.Hour); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_, _ = client.DeleteStream(context.WithoutCancel(s.Context()), &kinesis.DeleteStreamInput{StreamName: &s.Kind})
	})
	opened, err := stream.Open(s.Context(), client, s.Kind, stream.Settings{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, id := range ids {
		if rejected := opened.Put(s.Context(), [][]byte{s.data(id)}); len(rejected) > 0 {
			s.t.Fatal(rejected)
		}
	}
	shards, err := opened.Shards(s.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	var records []stream.Record
	for reader := opened.Reader(shards[0].ID, telemetry.Checkpoint{}); len(records) < len(ids); {
		page, err := reader.Next(s.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		records = append(records, page.Records...)
	}
	return opened, records
}

func rangeIn(of *stream.Stream, records []stream.Record) telemetry.Range {
	return telemetry.Range{
		StreamARN: of.ARN(), StreamCreated: of.Created(), Shard: "shardId-000000000000",
		First: records[0].Sequence, Last: records[len(records)-1].Sequence, Count: len(records),
	}
}

// TestFindNamesTheBatchThatHoldsARecord: the ends of its range are what it holds; see
// indexRange.
func TestFindNamesTheBatchThatHoldsARecord(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	of, records := s.put("first", "between", "last", "outside")
	r := rangeIn(of, records[:3])
	p := pipeline{operator: s.operator, client: s.temporal, stream: telemetry.StreamID{Name: s.Kind, ARN: of.ARN(), Created: of.Created()}}
	p.work()
	launcher := launch.Launcher{Client: s.temporal}
	if err := launcher.StartBatch(t.Context(), p.stream, r, odd, time.Time{}); err != nil {
		t.Fatal(err)
	}
	id := workflows.ProcessBatchID(s.Kind, r)
	await(t, "the list", func() bool { return strings.Contains(s.must("batch list"), id) })
	await(t, "the tree", func() bool {
		var status workflows.BatchStatus
		s.mustJSON(&status, "batch show --json "+id)
		return len(status.Lines()) == 3
	})
	for name, record := range map[string]stream.Record{"first": records[0], "last": records[2]} {
		a := s.answer(0, name)
		if a.Batches.State != find.Found || len(a.Batches.Found) != 1 || len(a.Batches.Gaps) > 0 {
			t.Fatalf("of %s it says %+v", name, a.Batches)
		}
		b := a.Batches.Found[0]
		if b.Workflow != id || b.Sequence != record.Sequence || b.First != record.Sequence || b.Last != record.Sequence || b.Error.Type != odd.Type {
			t.Errorf("of %s it says %+v", name, b)
		}
		if len(a.Stream.Found) != 1 || a.Stream.Found[0] != (find.Position{Shard: r.Shard, Sequence: record.Sequence, From: "batch"}) {
			t.Errorf("of %s it says %+v", name, a.Stream)
		}
	}
	contains(t, "find first", s.find(0, "first"), "batches  found", id, "odd_exception: unknown", "known by  batch")
	for _, name := range []string{"between", "outside"} {
		if a := s.answer(exitNotFound, name); a.Batches.State != find.Absent {
			t.Errorf("of %s it says %+v", name, a.Batches)
		}
	}
	// What is elsewhere costs no reads of the stream.
	s.index("between")
	if a := s.answer(0, "between"); a.Batches.State != find.NotSearched {
		t.Errorf("of one that is indexed it says %+v", a.Batches)
	}
	s.mustStop(id)
	if a := s.answer(exitNotFound, "first"); a.Batches.State != find.Absent {
		t.Errorf("of a batch that has ended it says %+v", a.Batches)
	}
}

// mustStop cancels a batch, and waits until Temporal no longer lists it.
func (s shelf) mustStop(id string) {
	s.t.Helper()
	s.must("batch cancel "+id, "stopped")
	await(s.t, "the list without it", func() bool { return !strings.Contains(s.must("batch list"), id) })
}

// TestFindNamesTheBatchOfACopy in the ledger, whose records the stream may have no longer.
func TestFindNamesTheBatchOfACopy(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	of, records := s.put("first", "last")
	r := rangeIn(of, records)
	held := ledger.NewRecord(s.data("copied"), odd)
	held.Sequence = r.First
	if _, err := s.ledger.Add(t.Context(), ledger.Entry{
		Kind: ledger.Bulk, At: time.Now().UTC(), Range: r, Records: []ledger.Record{held},
		Held: &ledger.Holder{By: workflows.ProcessBatchID(s.Kind, r), Run: "run"},
	}); err != nil {
		t.Fatal(err)
	}
	contains(t, "find copied", s.find(0, "copied"), "a copy of what "+workflows.ProcessBatchID(s.Kind, r)+" holds: not given up", "batches  absent")
	p := pipeline{operator: s.operator, client: s.temporal, stream: telemetry.StreamID{Name: s.Kind, ARN: of.ARN(), Created: of.Created()}}
	p.work()
	if err := (launch.Launcher{Client: s.temporal}).StartBatch(t.Context(), p.stream, r, odd, time.Time{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the batch", func() bool {
		a := s.answer(0, "copied")
		return len(a.Batches.Found) == 1 && a.Batches.Found[0].Sequence == r.First
	})
}

func TestFindNamesTheObjectOfTheBackup(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	of, _ := s.put()
	arrived := time.Date(2026, 11, 23, 1, 2, 4, 0, time.UTC)
	chain := backup.Open(s.Objects.Under(backup.Prefix), backup.Shard{Stream: s.Kind, Created: time.Unix(of.Created().Unix(), 0).UTC(), ID: "shardId-000000000000"}, "")
	for n, id := range []string{"a", "b", "c", "d", "e"} { // an object each
		if err := chain.Add(backup.Record{Sequence: []string{"10", "20", "30", "40", "50"}[n], Arrived: arrived, Data: s.data(id)}); err != nil {
			t.Fatal(err)
		}
		if _, err := chain.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.index("a", "e")
	s.giveUpAt("b", "20")
	a := s.answer(0, "a")
	if a.Backup.State != find.Found || a.Backup.Found[0].Sequence != "10" || !a.Backup.Found[0].Arrived.Equal(arrived) {
		t.Fatalf("of an indexed record it says %+v", a.Backup)
	}
	if _, err := s.Objects.Get(t.Context(), a.Backup.Found[0].Object); err != nil {
		t.Errorf("it names %s: %v", a.Backup.Found[0].Object, err)
	}
	if len(a.Stream.Found) != 1 || a.Stream.Found[0] != (find.Position{Shard: "shardId-000000000000", Sequence: "10", From: "backup"}) {
		t.Errorf("the position is %+v", a.Stream)
	}
	if a := s.answer(0, "b"); a.Backup.State != find.Found || a.Backup.Found[0].Sequence != "20" {
		t.Errorf("of a dead letter it says %+v", a.Backup)
	}
	// In the fifth object: three are read. Where it is follows from its id all the same.
	if a := s.answer(0, "e"); a.Backup.State != find.Incomplete || !strings.Contains(a.Backup.Gaps[0], "other objects than the 2 that") ||
		len(a.Stream.Found) != 1 || a.Stream.Found[0] != (find.Position{Shard: "shardId-000000000000", From: "hash"}) {
		t.Errorf("of one in another object it says %+v, %+v", a.Backup, a.Stream)
	}
	if a := s.answer(exitNotFound, "c"); a.Backup.State != find.NotSearched || !strings.Contains(a.Backup.Gaps[0], "--around") {
		t.Errorf("without a time it says %+v", a.Backup)
	}
	contains(t, "find a", s.find(0, "a", "--around", "2026-11-23T01:02:03Z"), "backup   found", "known by  backup")
	if a := s.answer(0, "b", "--around", "2026-11-23T01:02:03Z"); a.Backup.State != find.Found {
		t.Errorf("with a time it says %+v", a.Backup)
	}
	if a := s.answer(0, "a", "--around", "2026-11-22T01:02:03Z"); a.Backup.State != find.Incomplete || !strings.Contains(a.Backup.Gaps[0], "no objects") {
		t.Errorf("with another time it says %+v", a.Backup)
	}
}

// giveUpAt enters a record in the ledger under its sequence number.
func (s shelf) giveUpAt(id, sequence string) {
	s.t.Helper()
	r := ledger.NewRecord(s.data(id), outcome.Error{Type: "odd"})
	r.Sequence = sequence
	if _, err := s.ledger.Add(s.Context(), ledger.Entry{
		Kind: ledger.Bulk, At: time.Now().UTC(), Records: []ledger.Record{r},
		Range: telemetry.Range{Shard: "shardId-000000000000", First: sequence, Last: sequence, Count: 1},
	}); err != nil {
		s.t.Fatal(err)
	}
}
