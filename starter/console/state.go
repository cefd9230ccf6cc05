package console

import (
	"time"

	"millrace/internal/control"
)

// State is everything that the page shows. Times are those of the console's clock; durations
// are in seconds. A pointer that is nil, or null in JSON, is a figure that is not known.
type State struct {
	At        time.Time `json:"at"`
	Started   time.Time `json:"started"`   // of the console
	Every     float64   `json:"every"`     // seconds between two looks
	Stream    string    `json:"stream"`    // name
	Namespace string    `json:"namespace"` // of Temporal
	// TemporalUI is the address of the namespace in Temporal's Web UI; empty: not known.
	TemporalUI string     `json:"temporalUi,omitempty"`
	Workflows  []Workflow `json:"workflows"`

	Problems  []Problem        `json:"problems"` // the worst first
	Nodes     map[string]Level `json:"nodes"`    // of the picture that have problems: their worst
	Edges     map[string]Rate  `json:"edges"`    // of the picture
	Processes []Process        `json:"processes"`
	Regions   []Region         `json:"regions"`
	Ways      []Way            `json:"ways"`
	Delay     Delay            `json:"delay"`
	// Missing is how many records audits have found nowhere since the workers started.
	Missing float64 `json:"missing"`

	Shards     Part[Shards]      `json:"shards"`
	Queue      Part[Queue]       `json:"queue"`
	Letters    Part[DeadLetters] `json:"letters"`
	Backup     Part[Backup]      `json:"backup"`
	Snapshots  Part[Snapshots]   `json:"snapshots"`
	Recoveries Part[[]Recovery]  `json:"recoveries"`
	Residual   Part[Residual]    `json:"residual"`
	Checks     Part[[]Finding]   `json:"checks"`
	History    Part[[]Point]     `json:"-"` // see Delay
}

// Workflow is one that is to run all the time.
type Workflow struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Shards are those of the stream.
type Shards struct {
	Total   int            `json:"total"`
	ByState map[string]int `json:"byState"`
	Shards  []Shard        `json:"shards"` // at most MostShards: those that are not running first
	// Silent says why no worker told more than Temporal knows itself.
	Silent string `json:"silent,omitempty"`
}

// MostShards bounds the shards that are asked at each look.
const MostShards = 64

// Shard is how far a shard is.
type Shard struct {
	ID        string         `json:"id"`
	State     string         `json:"state"` // of control, or "-"
	Workflow  string         `json:"workflow"`
	Lag       *float64       `json:"lag"`               // age of ReadUpTo in seconds
	ReadUpTo  time.Time      `json:"readUpTo,omitzero"` // arrival of the last record that is done with
	Worker    string         `json:"worker,omitempty"`
	Why       string         `json:"why,omitempty"` // it waits, trips or is blocked; else its last error
	Holds     []control.Hold `json:"holds,omitempty"`
	Offenders []string       `json:"offenders,omitempty"`
	Batches   int            `json:"batches,omitempty"` // ranges of it that are in doubt
}

// Queue is the fallback queue, and what empties it.
type Queue struct {
	Messages int `json:"messages"` // that wait, as far as SQS knows
	InFlight int `json:"inFlight"` // that Redrive has taken
	Job
	Records int64   `json:"records"` // redriven, ever
	Pace    float64 `json:"pace,omitempty"`
}

// Job is a workflow that runs all the time.
type Job struct {
	Workflow  string         `json:"workflow"`
	State     string         `json:"state"` // what it says, or Temporal of one that does not run
	Worker    string         `json:"worker,omitempty"`
	LastError string         `json:"lastError,omitempty"`
	Holds     []control.Hold `json:"holds,omitempty"`
}

// DeadLetters are the open entries of the ledger.
type DeadLetters struct {
	Open int  `json:"open"` // entries
	More bool `json:"more,omitempty"`
	// Read is how many of them the groups are from: all, or the first MostEntries.
	Read         int           `json:"read"`
	Groups       []LetterGroup `json:"groups"`
	Parked       []ParkedIndex `json:"parked,omitempty"`       // indices that refuse writes
	Reprocessing *Reprocessing `json:"reprocessing,omitempty"` // that runs
}

// MostEntries bounds the entries of the ledger that are read at each look.
const MostEntries = 200

// LetterGroup is records that were given up with the same error.
type LetterGroup struct {
	Error   string    `json:"error"` // type
	Reasons []string  `json:"reasons"`
	Records int       `json:"records"`
	Entries int       `json:"entries"`
	Tenants []string  `json:"tenants"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	// Held: copies of what a ProcessBatch is at work on, which are not given up.
	Held bool `json:"held,omitempty"`
	// Command indexes them again; empty: nothing to do, or nothing can.
	Command string `json:"command,omitempty"`
}

// ParkedIndex is an index for which records wait in the ledger.
type ParkedIndex struct {
	Index    string `json:"index"`
	State    string `json:"state"`
	Workflow string `json:"workflow"`
}

// Reprocessing indexes dead letters again.
type Reprocessing struct {
	Workflow string `json:"workflow"`
	State    string `json:"state"`
	Progress string `json:"progress"`
}

// Backup is the copy of the stream in S3.
type Backup struct {
	Job
	Shards  int      `json:"shards"`
	Lag     *float64 `json:"lag"` // of the shard that is furthest behind, in seconds
	Waiting []string `json:"waiting,omitempty"`
}

// Snapshots are those of a repository.
type Snapshots struct {
	Repository string    `json:"repository"`
	Count      int       `json:"count"`
	Good       *Snapshot `json:"good"` // that a recovery would choose
	Last       *Snapshot `json:"last"`
}

// Snapshot is one of them.
type Snapshot struct {
	Name      string    `json:"name"`
	Started   time.Time `json:"started"`
	State     string    `json:"state"`
	Remark    string    `json:"remark,omitempty"`
	Indices   int       `json:"indices"`
	Documents int64     `json:"documents"`
}

// Recovery is a recovery, replay or drill.
type Recovery struct {
	Workflow string    `json:"workflow"`
	Run      string    `json:"run"`
	Kind     string    `json:"kind"`  // type of the workflow
	State    string    `json:"state"` // while it runs its own, then complete, incomplete, or Temporal's
	Stage    string    `json:"stage,omitempty"`
	Share    *float64  `json:"share"` // of the stage, from 0 to 1
	Detail   string    `json:"detail,omitempty"`
	Left     float64   `json:"left,omitempty"` // seconds
	Started  time.Time `json:"started"`
	By       string    `json:"by,omitempty"` // who started one that runs
	Ended    time.Time `json:"ended,omitzero"`
	Error    string    `json:"error,omitempty"`
}

// Residual is what proves conservation: records behind the processing checkpoints that are in
// the backup, and neither in the index, nor in the ledger, nor in an open batch.
type Residual struct {
	Audited  bool      `json:"audited"`
	Records  int64     `json:"records"`            // that are missing; 0 is right
	Compared int64     `json:"compared"`           // records of the sample
	At       time.Time `json:"at,omitzero"`        // of the last audit
	Workflow string    `json:"workflow,omitempty"` // that audits
	Detail   string    `json:"detail,omitempty"`
}

// Finding is a check of the doctor that found something to do.
type Finding struct {
	Group  string `json:"group"`
	Check  string `json:"check"`
	Level  Level  `json:"level"`
	Detail string `json:"detail"`
	Do     string `json:"do"`
}
