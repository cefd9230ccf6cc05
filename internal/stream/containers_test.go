package stream

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local/localtest"
	"millrace/internal/container"
	"millrace/internal/telemetry"
)

// onEachForm runs a test on a new stream of three shards of each emulator, for which each form of containers is set.
func onEachForm(t *testing.T, test func(ctx context.Context, t *testing.T, s *Stream, form container.Form)) {
	for name, config := range map[string]func(testing.TB) aws.Config{"ministack": localtest.AWS, "kinesalite": localtest.Kinesalite} {
		for _, form := range []container.Form{container.KPL, container.Pack} {
			t.Run(name+"/"+form.String(), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				t.Cleanup(cancel)
				s := newStreamOf(ctx, t, config(t), Settings{}, 3)
				set, err := s.SetForm(ctx, form)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := s.Form(ctx); err != nil || got != set || got.Form != form {
					t.Fatalf("the form is %+v, %v, after it was set to %+v", got, err, set)
				}
				test(ctx, t, s, form)
			})
		}
	}
}

// drain returns the records of a shard that has no more than these.
func drain(ctx context.Context, t *testing.T, s *Stream, shard string) (records []Record) {
	t.Helper()
	reader := s.Reader(shard, telemetry.Checkpoint{})
	defer reader.Close()
	for idle := 0; idle < 2; {
		page, err := reader.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Records) == 0 {
			idle++
		}
		records = append(records, page.Records...)
	}
	return records
}

func TestPutFillsContainersOfEachShard(t *testing.T) {
	t.Parallel()
	onEachForm(t, func(ctx context.Context, t *testing.T, s *Stream, form container.Form) {
		documents := makeRecords(0, 300)
		put := slices.Concat([][]byte{[]byte("foreign")}, documents, [][]byte{make([]byte, telemetry.MaxRecordSize+1)})
		if rejected := s.Put(ctx, put); len(rejected) != 2 || rejected[0].Position != 0 || rejected[1].Position != len(put)-1 {
			t.Fatalf("it rejects %+v", rejected)
		}
		if rejected := s.Replay(ctx, documents); len(rejected) > 0 {
			t.Fatalf("of replayed ones it rejects %+v", rejected)
		}
		shards, err := s.Shards(ctx)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string][2]int{} // how often each is there first, and replayed
		for _, shard := range shards {
			records := drain(ctx, t, s, shard.ID)
			if len(records) != 2 || container.FormOf(records[0].Data) != form {
				t.Errorf("%s has %d records", shard.ID, len(records))
			}
			for _, record := range records {
				unpacked := record.Documents()
				for i, d := range unpacked {
					if !shard.Takes(telemetry.DocIDOf(d.Data).PartitionKey()) {
						t.Errorf("%s is in %s, which does not take it", d.Sequence, shard.ID)
					}
					if d.Sequence != telemetry.Position(record.Sequence, i+1) {
						t.Errorf("document %d of %s is at %s", i+1, record.Sequence, d.Sequence)
					}
					counts := found[string(d.Data)]
					if d.Replayed {
						counts[1]++
					} else {
						counts[0]++
					}
					found[string(d.Data)] = counts
				}
				checkFetch(ctx, t, s, shard.ID, unpacked)
			}
			if came, err := s.ContainerSince(ctx, shard.ID, time.Now().Add(-patience)); err != nil || came.IsZero() {
				t.Errorf("a container came into %s at %v, %v", shard.ID, came, err)
			}
		}
		for _, data := range documents {
			if found[string(data)] != [2]int{1, 1} {
				t.Errorf("%s is there %v times, want once, and once replayed", data, found[string(data)])
			}
		}
		if len(found) != len(documents) {
			t.Errorf("%d documents are there, want %d", len(found), len(documents))
		}
	})
}

// checkFetch asks for some of the documents of a container, and for all.
func checkFetch(ctx context.Context, t *testing.T, s *Stream, shard string, documents []Record) {
	t.Helper()
	for _, want := range [][]Record{documents, documents[3:8], documents[:1], documents[len(documents)-1:]} {
		got, err := s.Fetch(ctx, telemetry.Range{Shard: shard, First: want[0].Sequence, Last: want[len(want)-1].Sequence, Count: len(want)})
		if err != nil || !slices.EqualFunc(got, want, func(a, b Record) bool { return a.Sequence == b.Sequence && string(a.Data) == string(b.Data) }) {
			t.Errorf("from %s to %s it fetches %d documents of %d, %v", want[0].Sequence, want[len(want)-1].Sequence, len(got), len(want), err)
		}
	}
}

// TestWriterLearnsOfSplitShard: as long as its map is old, nothing is rejected, and containers are where their first document
// belongs.
func TestWriterLearnsOfSplitShard(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newStreamOf(ctx, t, localtest.Kinesalite(t), Settings{}, 1)
	if _, err := s.SetForm(ctx, container.Pack); err != nil {
		t.Fatal(err)
	}
	made := 0
	put := func() {
		t.Helper()
		if rejected := s.Put(ctx, makeRecords(made, 100)); len(rejected) > 0 {
			t.Fatalf("it rejects %+v", rejected)
		}
		made += 100
	}
	put()
	shards, err := s.Shards(ctx)
	if err != nil {
		t.Fatal(err)
	}
	middle := "170141183460469231731687303715884105728" // 2^127
	if _, err := s.client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &s.name, ShardToSplit: &shards[0].ID, NewStartingHashKey: &middle}); err != nil {
		t.Fatal(err)
	}
	for tick := time.NewTicker(50 * time.Millisecond); len(s.places.known().ids) < 2; <-tick.C {
		if ctx.Err() != nil {
			t.Fatal("it does not learn of the new shards")
		}
		put()
	}
	put()
	if shards, err = s.Shards(ctx); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, shard := range shards {
		records := drain(ctx, t, s, shard.ID)
		for _, r := range records {
			for _, d := range r.Documents() {
				found[string(d.Data)] = true
			}
		}
		for _, d := range records[len(records)-1].Documents() {
			if !shard.Takes(telemetry.DocIDOf(d.Data).PartitionKey()) {
				t.Errorf("%s is in %s, which does not take it", d.Sequence, shard.ID)
			}
		}
	}
	if len(found) != made {
		t.Errorf("%d documents are there, want %d", len(found), made)
	}
}

func TestUnknownFormIsNotWritten(t *testing.T) {
	t.Parallel()
	s := newStreamOf(t.Context(), t, localtest.AWS(t), Settings{}, 1)
	if _, err := s.client.AddTagsToStream(t.Context(), &kinesis.AddTagsToStreamInput{StreamName: &s.name, Tags: map[string]string{FormTag: "avro@17"}}); err != nil {
		t.Fatal(err)
	}
	if form, err := s.Form(t.Context()); err == nil {
		t.Errorf("the form is %s", form)
	}
	if rejected := s.Put(t.Context(), makeRecords(0, 10)); len(rejected) > 0 {
		t.Errorf("it rejects %+v", rejected)
	}
	shards, err := s.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if records := drain(t.Context(), t, s, shards[0].ID); len(records) != 10 {
		t.Errorf("it has put %d records, want 10 singles", len(records))
	}
	if came, err := s.ContainerSince(t.Context(), shards[0].ID, time.Now().Add(-patience)); err != nil || !came.IsZero() {
		t.Errorf("of singles, a container came at %v, %v", came, err)
	}
}

func TestDamagedContainerStaysAsItIs(t *testing.T) {
	t.Parallel()
	whole := container.AppendPack(nil, makeRecords(0, 3))
	whole[len(whole)-1] ^= 1
	for name, data := range map[string][]byte{"a damaged one": whole, "a single": []byte("{}")} {
		if documents := (Record{Sequence: "7", Data: data}).Documents(); len(documents) != 1 || documents[0].Sequence != "7" || string(documents[0].Data) != string(data) {
			t.Errorf("%s gives %d documents", name, len(documents))
		}
	}
}
