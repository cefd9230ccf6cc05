package batching

import (
	"errors"
	"fmt"
	"time"

	"millrace/internal/pack"
)

// Mode is the way that batches normally take.
type Mode string

// The modes.
const (
	// Temporal starts an IngestBatch workflow for each batch.
	Temporal Mode = "temporal"
	// Direct puts batches into the stream itself, for volumes at which it
	// costs too much to keep a day of payloads in Temporal.
	Direct Mode = "direct"
)

// Settings are how records are grouped and made durable. A zero field takes
// its default.
type Settings struct {
	Mode          Mode          `name:"ingest" help:"What makes a batch durable: temporal (a workflow for each) or direct (stream, else queue)." enum:"temporal,direct" default:"temporal" env:"INGEST"`
	Linger        time.Duration `name:"ingest-linger" help:"How long a batch waits for records of other requests." default:"5ms" env:"MILLRACE_INGEST_LINGER"`
	BatchRecords  int           `name:"ingest-batch-records" help:"Maximum records of a batch, up to 10000." default:"500" env:"MILLRACE_INGEST_BATCH_RECORDS"`
	BatchBytes    int           `name:"ingest-batch-bytes" help:"Maximum bytes of a batch before compression, up to 33554432." default:"4194304" env:"MILLRACE_INGEST_BATCH_BYTES"`
	InFlight      int           `name:"ingest-in-flight" help:"Maximum batches in flight. There are fewer while more at once would only take longer. At most an eighth of them hold records of tenants that have more than 256 KiB waiting while others post." default:"32" env:"MILLRACE_INGEST_IN_FLIGHT"`
	PendingBytes  int           `name:"ingest-pending-bytes" help:"Maximum bytes that wait for an answer; beyond it, agents must retry." default:"268435456" env:"MILLRACE_INGEST_PENDING_BYTES"`
	StartTimeout  time.Duration `name:"ingest-start-timeout" help:"How long a workflow may take to start before the batch takes the direct path." default:"500ms" env:"MILLRACE_INGEST_START_TIMEOUT"`
	DirectTimeout time.Duration `name:"ingest-direct-timeout" help:"How long to try the direct path before agents must retry." default:"5s" env:"MILLRACE_INGEST_DIRECT_TIMEOUT"`
}

// Defaults of Settings.
const (
	DefaultLinger        = 5 * time.Millisecond
	DefaultBatchRecords  = 500     // a PutRecords call
	DefaultBatchBytes    = 4 << 20 // within a PutRecords call, partition keys and all
	DefaultInFlight      = 32
	DefaultPendingBytes  = 256 << 20
	DefaultStartTimeout  = 500 * time.Millisecond
	DefaultDirectTimeout = 5 * time.Second
)

// Upper bounds of batches: well within what can be unpacked again.
const (
	MostBatchRecords = 10_000
	MostBatchBytes   = pack.MaxUnpackedSize / 2
)

// maxPack is the most bytes of a workflow's input. Temporal warns from 512 KiB
// and refuses from 2 MiB (limit.blobSize.error).
const maxPack = 1 << 20

// Validate reports settings that cannot work.
func (s Settings) Validate() error {
	var errs []error
	for flag, value := range map[string]int{
		"ingest-batch-records": s.BatchRecords, "ingest-batch-bytes": s.BatchBytes,
		"ingest-in-flight": s.InFlight, "ingest-pending-bytes": s.PendingBytes,
	} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("--%s: %d is negative", flag, value))
		}
	}
	for flag, value := range map[string]time.Duration{
		"ingest-linger": s.Linger, "ingest-start-timeout": s.StartTimeout, "ingest-direct-timeout": s.DirectTimeout,
	} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("--%s: %s is negative", flag, value))
		}
	}
	if s.BatchRecords > MostBatchRecords {
		errs = append(errs, fmt.Errorf("--ingest-batch-records: %d is more than %d", s.BatchRecords, MostBatchRecords))
	}
	if s.BatchBytes > MostBatchBytes {
		errs = append(errs, fmt.Errorf("--ingest-batch-bytes: %d is more than %d", s.BatchBytes, MostBatchBytes))
	}
	return errors.Join(errs...)
}

func (s Settings) withDefaults() Settings {
	if s.Mode == "" {
		s.Mode = Temporal
	}
	if s.Linger == 0 {
		s.Linger = DefaultLinger
	}
	if s.BatchRecords == 0 {
		s.BatchRecords = DefaultBatchRecords
	}
	if s.BatchBytes == 0 {
		s.BatchBytes = DefaultBatchBytes
	}
	if s.InFlight == 0 {
		s.InFlight = DefaultInFlight
	}
	if s.PendingBytes == 0 {
		s.PendingBytes = DefaultPendingBytes
	}
	if s.StartTimeout == 0 {
		s.StartTimeout = DefaultStartTimeout
	}
	if s.DirectTimeout == 0 {
		s.DirectTimeout = DefaultDirectTimeout
	}
	return s
}
