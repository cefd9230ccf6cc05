package stream

import (
	"context"
	"maps"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"millrace/deploy/local/localtest"
	"millrace/internal/telemetry"
)

func TestFetchReturnsRange(t *testing.T) {
	t.Parallel()
	onEach(t, func(ctx context.Context, t *testing.T, s *Stream, shard string) {
		if rejected := s.Put(ctx, makeRecords(0, 50)); len(rejected) > 0 {
			t.Fatalf("rejected: %v", rejected)
		}
		var all []Record
		for reader := s.Reader(shard, telemetry.Checkpoint{}); len(all) < 50; {
			page, err := reader.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page.Records...)
		}
		for _, c := range [][2]int{{0, 0}, {3, 17}, {49, 49}, {0, 49}} {
			want := all[c[0] : c[1]+1]
			got, err := s.Fetch(ctx, telemetry.Range{Shard: shard, First: want[0].Sequence, Last: want[len(want)-1].Sequence, Count: len(want)})
			if err != nil || len(got) != len(want) {
				t.Fatalf("%v: fetched %d records, %v", c, len(got), err)
			}
			for i := range want {
				if got[i].Sequence != want[i].Sequence || string(got[i].Data) != string(want[i].Data) {
					t.Errorf("%v: record %d is another one", c, i)
				}
			}
		}
		if got, err := s.Fetch(ctx, telemetry.Range{Shard: "shardId-000000000099", First: all[0].Sequence, Last: all[1].Sequence, Count: 2}); err != nil || len(got) != 0 {
			t.Errorf("of a shard that is gone: %d records, %v", len(got), err)
		}
	})
}

// TestShardTakesTheKeysThatAreThere: where a record is follows from its key.
func TestShardTakesTheKeysThatAreThere(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(testing.TB) aws.Config{"ministack": localtest.AWS, "kinesalite": localtest.Kinesalite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStreamOf(t.Context(), t, config(t), Settings{}, 3)
			records := makeRecords(0, 60)
			if rejected := s.Put(t.Context(), records); len(rejected) > 0 {
				t.Fatalf("rejected: %v", rejected)
			}
			shards, err := s.Shards(t.Context())
			if err != nil || len(shards) != 3 {
				t.Fatalf("shards %v, %v", shards, err)
			}
			for _, shard := range shards {
				want := map[string]bool{}
				for _, data := range records {
					if shard.Takes(telemetry.DocIDOf(data).PartitionKey()) {
						want[string(data)] = true
					}
				}
				if len(want) == 0 || len(want) == len(records) {
					t.Errorf("%s takes %d of %d", shard.ID, len(want), len(records))
				}
				if got, _ := read(t.Context(), t, s.Reader(shard.ID, telemetry.Checkpoint{}), len(want)); !maps.Equal(got, want) {
					t.Errorf("%s has %d others than the %d that it takes", shard.ID, len(got), len(want))
				}
			}
		})
	}
	if (Shard{ID: "made up"}).Takes("a key") {
		t.Error("a shard whose hashes are not known takes a key")
	}
}
