package stream

import (
	"bytes"
	"context"
	"testing"

	"millrace/internal/telemetry"
)

func TestReaderReadsPutsAndResumesAtCheckpoint(t *testing.T) {
	t.Parallel()
	onEach(t, func(ctx context.Context, t *testing.T, s *Stream, shard string) {
		first, second := makeRecords(0, 1200), makeRecords(1200, 300) // more than one PutRecords call takes
		if rejected := s.Put(ctx, first); len(rejected) != 0 {
			t.Fatalf("rejected %+v", rejected)
		}
		got, checkpoint := read(ctx, t, s.Reader(shard, telemetry.Checkpoint{}), len(first))
		for i, r := range first {
			if !got[string(r)] {
				t.Fatalf("record %d did not come back as it was put", i)
			}
		}
		if rejected := s.Put(ctx, second); len(rejected) != 0 {
			t.Fatalf("rejected %+v", rejected)
		}
		got, _ = read(ctx, t, s.Reader(shard, checkpoint), len(second))
		for i, r := range second {
			if !got[string(r)] {
				t.Fatalf("record %d behind the checkpoint did not come", i)
			}
		}
	})
}

func TestPutRejectsOnlyInvalidRecords(t *testing.T) {
	t.Parallel()
	onEach(t, func(ctx context.Context, t *testing.T, s *Stream, shard string) {
		records := makeRecords(0, 5)
		records[1] = []byte("not of this pipeline")
		records[3] = append(bytes.Clone(records[3][:len(records[3])-1]), `,"large":"`+string(bytes.Repeat([]byte("x"), telemetry.MaxRecordSize))+`"}`...)
		rejected := s.Put(ctx, records)
		positions := map[int]bool{}
		for _, r := range rejected {
			positions[r.Position] = r.Invalid
		}
		if len(rejected) != 2 || !positions[1] || !positions[3] {
			t.Fatalf("rejected %+v, want 1 and 3 as invalid", rejected)
		}
		read(ctx, t, s.Reader(shard, telemetry.Checkpoint{}), 3)
	})
}
