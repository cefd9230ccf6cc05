package stream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local/localtest"
	"millrace/internal/telemetry"
)

// patience is how long a test waits for what a busy machine does late.
const patience = 5 * time.Minute

// onEach runs a test on a new stream of one shard of each emulator, and in each
// way to read it.
func onEach(t *testing.T, test func(ctx context.Context, t *testing.T, s *Stream, shard string)) {
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
			t.Cleanup(cancel)
			s := newStream(ctx, t, c.config(t), c.settings)
			shards, err := s.Shards(ctx)
			if err != nil || len(shards) != 1 {
				t.Fatalf("shards %v, %v", shards, err)
			}
			test(ctx, t, s, shards[0].ID)
		})
	}
}

// newStream makes a stream of one shard.
func newStream(ctx context.Context, t *testing.T, config aws.Config, settings Settings) *Stream {
	t.Helper()
	return newStreamOf(ctx, t, config, settings, 1)
}

// newStreamOf makes a stream of so many shards.
func newStreamOf(ctx context.Context, t *testing.T, config aws.Config, settings Settings, shards int) *Stream {
	t.Helper()
	client, name := kinesis.NewFromConfig(config), localtest.Name(t, "stream")
	if _, err := Create(ctx, client, name, shards, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = client.DeleteStream(context.Background(), &kinesis.DeleteStreamInput{StreamName: &name})
	})
	s, err := Open(ctx, client, name, settings)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func makeRecords(from, count int) [][]byte {
	now := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	records := make([][]byte, count)
	for i := range records {
		records[i] = telemetry.AppendRecord(nil, telemetry.Head{
			Index: "telemetry-span-2026.11.23", ReceivedAt: now, Tenant: "acme", Region: "eu-west-1",
			ID: fmt.Sprint(from + i), Type: "span", Timestamp: now,
		}, []byte(`{"name":"a \"quoted\" name","duration":12}`))
	}
	return records
}

// read reads pages until count records came, and returns the data of each.
func read(ctx context.Context, t *testing.T, r *Reader, count int) (data map[string]bool, last telemetry.Checkpoint) {
	t.Helper()
	data = map[string]bool{}
	for n := 0; n < count; {
		page, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d records: %v", n, count, err)
		}
		if page.Loss != nil {
			t.Fatalf("a loss was reported: %+v", page.Loss)
		}
		for _, record := range page.Records {
			data[string(record.Data)] = true
			last = telemetry.Checkpoint{Sequence: record.Sequence, ReadUpTo: record.Arrived}
			n++
		}
	}
	return data, last
}
