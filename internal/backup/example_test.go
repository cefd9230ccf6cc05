package backup_test

import (
	"context"
	"fmt"
	"time"

	"millrace/internal/backup"
)

// Two writers of a shard, such as a worker and its successor, stand behind the same record. Their objects would have one
// key, so one of them wins, and the other adopts what it wrote.
func ExampleChain() {
	ctx := context.Background()
	store := newMemory() // as a bucket does, it refuses a second object of a key
	arrived := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	of := backup.Shard{Stream: "telemetry", Created: arrived, ID: "shardId-000000000000"}
	record := func(sequence string) backup.Record {
		return backup.Record{Sequence: sequence, Arrived: arrived, Data: []byte(`{"name":"GET /"}`)}
	}
	flush := func(chain *backup.Chain) {
		written, err := chain.Flush(ctx)
		if err != nil {
			panic(err)
		}
		fmt.Println(written.Key)
		fmt.Printf("  records %d, after %q, adopted %v; continue behind %s\n",
			written.Meta.Count, written.Meta.After, written.Adopted, chain.Last())
	}

	worker, successor := backup.Open(store, of, ""), backup.Open(store, of, "")
	for _, chain := range []*backup.Chain{worker, successor} {
		for _, sequence := range []string{"1001", "1002"} {
			if err := chain.Add(record(sequence)); err != nil {
				panic(err)
			}
		}
		flush(chain)
	}
	if err := successor.Add(record("1003")); err != nil {
		panic(err)
	}
	flush(successor)

	// Output:
	// dt=2026-11-23/hour=13/telemetry-1795438800-shardId-000000000000-1001.json.gz
	//   records 2, after "", adopted false; continue behind 1002
	// dt=2026-11-23/hour=13/telemetry-1795438800-shardId-000000000000-1001.json.gz
	//   records 2, after "", adopted true; continue behind 1002
	// dt=2026-11-23/hour=13/telemetry-1795438800-shardId-000000000000-1003.json.gz
	//   records 1, after "1002", adopted false; continue behind 1003
}
