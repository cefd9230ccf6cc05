package backups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/backup"
	"millrace/internal/outcome"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Archivist is what the activity of BackupShard needs.
type Archivist struct {
	Stream telemetry.StreamID
	Source ShardReader
	Store  backup.Store
	Ends   backup.Store // below backup.EndsPrefix; nil: the ends of shards are not kept
	Losses DeadLetters
	Limits Limits
	Worker string // identity of this worker, for operators
}

// NewArchivist completes the limits of an archivist.
func NewArchivist(a Archivist) *Archivist {
	a.Limits = a.Limits.withDefaults()
	return &a
}

// ShardReader opens what a shard holds behind a checkpoint. It makes no call.
type ShardReader interface {
	Read(shard string, from telemetry.Checkpoint) source.Reader
}

// DeadLetters notes for good that a range may be lost. See deadletter.Writer.
type DeadLetters interface {
	WriteLoss(ctx context.Context, r telemetry.Range, cause outcome.Error) error
}

// of is an archivist for a stream: also for an earlier one of the name that this worker
// reads, of which there is nothing more to be read.
func (a *Archivist) of(id telemetry.StreamID) (*Archivist, error) {
	if !a.Stream.IsEarlier(id) {
		return a, a.Stream.Is(id)
	}
	earlier := *a
	earlier.Stream, earlier.Source = id, source.Gone(id, a.Stream)
	return &earlier, nil
}

// Source is a Kinesis stream as the backup reads it, beside others.
type Source struct {
	*stream.Stream
	FanOut string // name of its own enhanced fan-out consumer; empty: it polls
}

// Read begins behind a checkpoint.
func (s Source) Read(shard string, from telemetry.Checkpoint) source.Reader {
	return s.ReaderAs(s.FanOut, shard, from)
}

// Limits are how a worker backs up. A zero field takes its default.
type Limits struct {
	Bytes  int           `name:"backup-bytes" help:"Size of an object before compression, in bytes: 1 to 128 MiB." default:"5242880" env:"MILLRACE_BACKUP_BYTES"`
	Within time.Duration `name:"backup-within" help:"Longest time before a record is written, up to 15m." default:"5m" env:"MILLRACE_BACKUP_WITHIN"`
	Poll   time.Duration `name:"backup-poll" help:"Time between reads at the tip of a shard, which leaves reads to other consumers." default:"1s" env:"MILLRACE_BACKUP_POLL"`
	FanOut string        `name:"backup-fan-out" help:"Name of an enhanced fan-out consumer to read with; empty: poll." env:"MILLRACE_BACKUP_FAN_OUT"`

	Encryption   string `name:"backup-encryption" help:"Server-side encryption of the objects: AES256, aws:kms or aws:kms:dsse; empty: the bucket's default." enum:"AES256,aws:kms,aws:kms:dsse," default:"" env:"MILLRACE_BACKUP_ENCRYPTION"`
	KMSKey       string `name:"backup-kms-key" help:"Id or ARN of the KMS key." env:"MILLRACE_BACKUP_KMS_KEY"`
	StorageClass string `name:"backup-storage-class" help:"Storage class of the objects, by its name in S3; empty: STANDARD." env:"MILLRACE_BACKUP_STORAGE_CLASS"`

	WaitingAfter time.Duration `kong:"-"` // how long a shard may stand still before its state says so
	DrainTimeout time.Duration `kong:"-"` // how long a call that is to end may take to write what it holds; the next one reads it again
}

// Defaults of BackupLimits: size and time are Firehose's.
const (
	DefaultBackupBytes  = 5 << 20
	DefaultBackupWithin = 5 * time.Minute
	DefaultBackupPoll   = time.Second

	DefaultBackupWaitingAfter = 20 * time.Second
	DefaultBackupDrainTimeout = 10 * time.Second
)

// The bounds of Firehose's own buffers (API reference of BufferingHints); our
// own objects may be smaller, for tests.
const (
	mostBackupBytes  = 128 << 20
	mostBackupWithin = 15 * time.Minute
)

// Validate reports settings with which nothing would be written, or read back.
func (l Limits) Validate() error {
	var errs []error
	if l.Bytes < 0 || l.Bytes > mostBackupBytes {
		errs = append(errs, fmt.Errorf("--backup-bytes: %d is not between 1 and %d", l.Bytes, mostBackupBytes))
	}
	if l.Within < 0 || l.Within > mostBackupWithin {
		errs = append(errs, fmt.Errorf("--backup-within: %v is not between 1s and %v", l.Within, mostBackupWithin))
	}
	if l.Poll < 0 {
		errs = append(errs, fmt.Errorf("--backup-poll: %v is negative", l.Poll))
	}
	if l.KMSKey != "" && l.Encryption != "aws:kms" && l.Encryption != "aws:kms:dsse" {
		errs = append(errs, errors.New("--backup-kms-key: give --backup-encryption aws:kms, too"))
	}
	// Objects in the archives cannot be read when they are needed.
	if l.StorageClass == "GLACIER" || l.StorageClass == "DEEP_ARCHIVE" {
		errs = append(errs, fmt.Errorf("--backup-storage-class: a recovery cannot read %s; let a lifecycle rule of the bucket move what is old", l.StorageClass))
	}
	return errors.Join(errs...)
}

func (l Limits) withDefaults() Limits {
	if l.Bytes == 0 {
		l.Bytes = DefaultBackupBytes
	}
	if l.Within == 0 {
		l.Within = DefaultBackupWithin
	}
	if l.Poll == 0 {
		l.Poll = DefaultBackupPoll
	}
	if l.WaitingAfter == 0 {
		l.WaitingAfter = DefaultBackupWaitingAfter
	}
	if l.DrainTimeout == 0 {
		l.DrainTimeout = DefaultBackupDrainTimeout
	}
	return l
}

// Counts says what there is of a shard in the backup. Those of a
// checkpoint are of the objects up to it.
type Counts struct {
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`   // of their lines, before compression
	Objects int64 `json:"objects"` // with those that were adopted
	Stored  int64 `json:"stored"`  // bytes of the objects that this chain's writers have written
	Adopted int64 `json:"adopted"` // objects of another writer, or of a lost answer
	Losses  int64 `json:"losses"`  // ranges that were trimmed before they were read
}
