// Package workflows holds what operators see in Temporal: one workflow a file,
// named as in its UI, and here the names by which they are found.
package workflows

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"millrace/internal/telemetry"
)

// Task queues. Each has its own function in package workers.
const (
	IngestQueue   = "millrace-ingest"   // IngestBatch and Reconcile; the collector polls it too
	RedriveQueue  = "millrace-redrive"  // Redrive
	ProcessQueue  = "millrace-process"  // ProcessStream, ProcessShard, ProcessBatch and their short activities
	RangeQueue    = "millrace-range"    // IndexRange, which may wait for Elasticsearch for long: what is short has slots elsewhere
	IndexQueue    = "millrace-index"    // IndexShard: its slots bound the shards of a worker
	BackupQueue   = "millrace-backup"   // BackupStream, BackupShard and their short activities
	CopyQueue     = "millrace-copy"     // CopyShard: its slots bound the shards that a worker backs up
	DeadQueue     = "millrace-dead"     // KeepDeadLetters, ReprocessDeadLetters and DrainIndex
	RecoverQueue  = "millrace-recover"  // Recover, Replay, AuditBackup and their activities, without SweepObjects
	SweepQueue    = "millrace-sweep"    // SweepObjects: its slots bound the pages that a worker works on
	SnapshotQueue = "millrace-snapshot" // SnapshotIndex and EnforceRetention
	CanaryQueue   = "millrace-canary"   // Canary: its slots are free whatever else waits
)

// QueuePrefix begins the name of each task queue. A worker's --queues leaves it out.
const QueuePrefix = "millrace-"

// ReadsContainers ends the identity of a worker that reads containers of documents in
// the stream. Those of earlier versions take one for a record that no collector wrote.
const ReadsContainers = "+containers"

// TaskQueues are all task queues.
var TaskQueues = []string{
	IngestQueue, RedriveQueue, ProcessQueue, RangeQueue, IndexQueue, BackupQueue, CopyQueue, DeadQueue, RecoverQueue, SweepQueue, SnapshotQueue, CanaryQueue,
}

// ClusterQueues are those whose activities restore, search, count, compare or delete
// documents, which only a cluster can.
var ClusterQueues = []string{RecoverQueue, SweepQueue, SnapshotQueue, CanaryQueue}

// Search attributes, all keywords, that let an operator find what is stuck.
// None carries a tenant: attributes are readable to everyone in the namespace.
var (
	Stage = temporal.NewSearchAttributeKeyKeyword("MillraceStage") // ingest, redrive, process, batch, backup, dead
	State = temporal.NewSearchAttributeKeyKeyword("MillraceState") // running, paused, waiting, drained, done, stopped
	Shard = temporal.NewSearchAttributeKeyKeyword("MillraceShard") // shard id
)

// SearchAttributes names every search attribute that a namespace must have.
var SearchAttributes = []string{Stage.GetName(), State.GetName(), Shard.GetName()}

// RecoverID names the one recovery there may be at a time.
const RecoverID = "recover"

// DrillID names the one drill there may be at a time, the schedule of drills,
// and with the time behind it, its runs.
const DrillID = "drill"

// AuditID names the one audit of the backup there may be at a time, the schedule of audits,
// and with the time behind it, its runs.
const AuditID = "audit"

// AuditStage is the search attribute Stage of an audit.
const AuditStage = "audit"

// ReplayID names a replay.
func ReplayID(name string) string { return "replay/" + name }

// IngestID names the workflow of one batch of the collector.
func IngestID(uuid string) string { return "ingest/" + uuid }

// ReconcileID names the workflow that replays batches which closed unfinished.
const ReconcileID = "reconcile/ingest"

// RedriveID names the workflow that empties a fallback queue.
func RedriveID(queue string) string { return "redrive/" + queue }

// ProcessStreamID names the workflow that looks after a stream's shards.
func ProcessStreamID(stream string) string { return "process/" + stream }

// ProcessShardID names the workflow of a shard. The stream's creation time
// tells it from a shard of an earlier stream with the same name.
func ProcessShardID(stream string, created time.Time, shard string) string {
	return fmt.Sprintf("process/%s/%d/%s", stream, created.Unix(), shard)
}

// ParseProcessShardID returns the shard that an id of ProcessShardID names, and
// whether it is one of a stream of that name.
func ParseProcessShardID(id, stream string) (shard telemetry.Range, ok bool) {
	rest, ours := strings.CutPrefix(id, "process/"+stream+"/")
	created, name, parted := strings.Cut(rest, "/")
	seconds, err := strconv.ParseInt(created, 10, 64)
	return telemetry.Range{StreamCreated: time.Unix(seconds, 0).UTC(), Shard: name}, ours && parted && err == nil
}

// BackupStreamID names the workflow that looks after the backup of a stream.
func BackupStreamID(stream string) string { return "backup/" + stream }

// BackupShardID names the workflow of a shard's backup.
func BackupShardID(stream string, created time.Time, shard string) string {
	return fmt.Sprintf("backup/%s/%d/%s", stream, created.Unix(), shard)
}

// ProcessBatchID names the workflow of a range that failed as a whole.
func ProcessBatchID(stream string, r telemetry.Range) string {
	return fmt.Sprintf("batch/%s/%d/%s/%s-%s", stream, r.StreamCreated.Unix(), r.Shard, r.First, r.Last)
}

// DrainIndexID names the workflow that brings home what is parked for an index.
func DrainIndexID(index string) string { return "parked/" + index }

// KeepDeadLettersID names the workflow that takes a dead-letter queue into the
// ledger.
func KeepDeadLettersID(queue string) string { return "dead-letters/" + queue }

// ReprocessID names the workflow that brings the dead letters of a stream home.
func ReprocessID(stream string) string { return "reprocess/" + stream }

// ReprocessDryRunID names the workflow that says what that would do.
func ReprocessDryRunID(stream string) string { return ReprocessID(stream) + "/dry-run" }

// SnapshotID names the schedule of a repository's snapshots, and a snapshot
// that an operator has taken. The schedule's runs have the time behind it.
func SnapshotID(repository string) string { return "snapshot/" + repository }

// RetentionID names the schedule that deletes old indices, and with the time
// behind it, its runs.
func RetentionID(stream string) string { return "retention/" + stream }

// CanaryID names the schedule of the canary, and a run that an operator has started.
// The schedule's runs have the time behind it.
func CanaryID(stream string) string { return "canary/" + stream }
