package stream

import (
	"context"
	"testing"
	"time"

	"millrace/internal/telemetry"
	"millrace/test/strict"
)

// A page is read ahead as a whole, and Kinesis refuses calls after a large one: pages of large records have fewer.
func TestPagesHaveAboutTheirUsualSize(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	k := strict.StartKinesis(t, born, 24*time.Hour)
	s := strictly(t, k)
	const large = 64 << 10
	for range firstPageRecords + UsualPageBytes/large {
		k.Put(make([]byte, large-telemetry.PartitionKeySize))
	}
	for range 5000 {
		k.Put([]byte("small"))
	}
	reader := s.Reader(strict.Shard, telemetry.Checkpoint{})
	for n, want := range []int{
		firstPageRecords,                               // it is not known how large they are
		UsualPageBytes / large, UsualPageBytes / large, // the last of them are small
		DefaultLimitPerCall,
	} {
		page, err := reader.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Records) != want {
			t.Errorf("page %d has %d records, want %d", n, len(page.Records), want)
		}
	}
}
