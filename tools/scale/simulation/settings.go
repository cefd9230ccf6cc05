package simulation

import (
	"errors"
	"fmt"
	"math"
	"time"

	"millrace/activities/process"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/stream"
	"millrace/workflows"
)

// Costs are what a record and a bulk take, in seconds of a processor.
type Costs struct {
	WorkerRecord, WorkerBulk   float64
	WorkerCall                 float64 // a call that reads a shard, beside that
	ClusterRecord, ClusterBulk float64
	// OtherRecord and OtherCall are what other programs take that share the machine; see Settings.OneMachine.
	OtherRecord, OtherCall float64
	// BulkLatency is what a bulk takes beside that: the sync of the disk, and the way there and back.
	BulkLatency time.Duration
}

// Settings are what is played.
type Settings struct {
	Shards  int
	Workers int
	Slots   int     // shards that a worker reads at once, at most
	Rate    float64 // records a second, the same to each shard
	Backlog float64 // records that are there at the beginning, likewise
	For     time.Duration
	Seed    uint64

	Costs        Costs
	RecordBytes  float64 // of a record in the stream
	MemoryBytes  float64 // of a record that is read ahead
	PageRecords  float64 // of telemetry, in a page of GetRecords
	WorkerCores  int     // of each worker
	ClusterCores int     // of all of its nodes
	// OneMachine: worker and cluster share so many processors, as the benchmark's do; 0: they have their own.
	OneMachine int
	// Unbounded: the stream has no limits for who reads, as the benchmark's.
	Unbounded bool

	Kill  Kill
	Slow  Slow
	Split Split
}

// Kill is the end of some workers, without a word. None come in their place.
type Kill struct {
	At    time.Duration
	Share float64 // of the workers
}

// Slow is a cluster that takes longer for everything.
type Slow struct {
	At, For time.Duration
	Factor  float64
}

// Split is a resharding: some shards close, and two go on in place of each.
type Split struct {
	At     time.Duration
	Shards int
}

// BulkRecords is the most records of a bulk.
const BulkRecords = process.DefaultBulkRecords

// Limits and times of the pipeline.
const (
	bulksPerShard = process.DefaultBulksPerShard
	aheadBytes    = process.DefaultPrefetchBytes
	mostInFlight  = limiter.DefaultConcurrency
	callsPerS     = stream.DefaultCallsPerSecond
	bytesPerS     = stream.DefaultBytesPerSecond
)

var (
	idleWait       = stream.DefaultIdleWait.Seconds()
	heartbeatEvery = longcall.HeartbeatEvery.Seconds()
	takeoverAfter  = workflows.TakeoverAfter.Seconds()
	callFor        = workflows.DefaultCallFor.Seconds()
)

const (
	// retryAfter is the first wait of Temporal's retry policy of IndexShard, in seconds.
	retryAfter = 1
	// beginsAfter is from a task that is scheduled to the first read, in seconds, and childrenAfter from a shard that is drained
	// to the call that reads its children: three workflow tasks.
	beginsAfter, childrenAfter = 0.05, 0.15
	// Writes of Temporal's store: a heartbeat with its share of the timer's (longcall.HeartbeatEvery), the end of a call with the
	// beginning of the next, a call that timed out.
	writesOfHeartbeat, writesOfCall, writesOfTimeout = 4.0 / 3, 6, 3
)

// killed is how many workers that is.
func (s Settings) killed() int { return int(math.Ceil(s.Kill.Share * float64(s.Workers))) }

// Validate reports what cannot be played.
func (s Settings) Validate() error {
	var errs []error
	least := func(name string, value, least float64) {
		if !(value >= least) || math.IsInf(value, 1) {
			errs = append(errs, fmt.Errorf("%s: %v is less than %v, or no number", name, value, least))
		}
	}
	least("shards", float64(s.Shards), 1)
	least("workers", float64(s.Workers), 1)
	least("slots", float64(s.Slots), 1)
	least("rate", s.Rate, 0)
	least("backlog", s.Backlog, 0)
	least("for", s.For.Seconds(), 1)
	least("page records", s.PageRecords, 1)
	least("record bytes", s.RecordBytes, 1)
	least("memory bytes", s.MemoryBytes, 1)
	if s.OneMachine == 0 {
		least("worker cores", float64(s.WorkerCores), 1)
		least("cluster cores", float64(s.ClusterCores), 1)
	}
	if !(s.Kill.Share >= 0) || s.killed() >= s.Workers {
		errs = append(errs, fmt.Errorf("kill: a share of %v leaves no worker of %d, or is none", s.Kill.Share, s.Workers))
	}
	if s.Slow.Factor != 0 && s.Slow.Factor < 1 {
		errs = append(errs, fmt.Errorf("slow: %v is less than 1", s.Slow.Factor))
	}
	if s.Split.Shards > s.Shards {
		errs = append(errs, fmt.Errorf("split: %d of %d shards", s.Split.Shards, s.Shards))
	}
	return errors.Join(errs...)
}
