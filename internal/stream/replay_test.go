package stream

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local/localtest"
)

// TestReplayedRecordReturnsToItsShard: it comes into the shard in which it was, and
// readers can tell it.
func TestReplayedRecordReturnsToItsShard(t *testing.T) {
	for name, c := range map[string]struct {
		config   func(testing.TB) aws.Config
		settings Settings
	}{
		"ministack":         {localtest.AWS, Settings{}},
		"ministack_fan-out": {localtest.AWS, Settings{FanOut: "test"}},
		"kinesalite":        {localtest.Kinesalite, Settings{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			client, name := kinesis.NewFromConfig(c.config(t)), localtest.Name(t, "replay")
			if _, err := Create(ctx, client, name, 3, 24*time.Hour); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_, _ = client.DeleteStream(context.WithoutCancel(ctx), &kinesis.DeleteStreamInput{StreamName: &name})
			})
			s, err := Open(ctx, client, name, c.settings)
			if err != nil {
				t.Fatal(err)
			}
			records := makeRecords(0, 60)
			if rejected := s.Put(ctx, records); len(rejected) > 0 {
				t.Fatalf("it refuses %+v", rejected)
			}
			if rejected := s.Replay(ctx, append([][]byte{[]byte("foreign")}, records...)); len(rejected) != 1 || !rejected[0].Invalid {
				t.Fatalf("of replayed ones it refuses %+v", rejected)
			}
			shards, err := s.Shards(ctx)
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			for _, shard := range shards {
				first := map[string]bool{}
				for _, r := range drain(ctx, t, s, shard.ID) {
					seen++
					if again, there := r.Replayed, first[string(r.Data)]; again != there {
						t.Errorf("%s of shard %s: replayed is %v, and it was there before: %v", r.Data, shard.ID, again, there)
					}
					first[string(r.Data)] = true
				}
				if len(first) == 0 {
					t.Errorf("shard %s has nothing: this shows little", shard.ID)
				}
			}
			if seen != 2*len(records) {
				t.Errorf("%d records were read", seen)
			}
		})
	}
}
