package control

import "time"

// States of a shard, for operators and for the search attribute MillraceState.
const (
	StateRunning = "running"
	StateWaiting = "waiting" // for something that does not work
	StatePaused  = "paused"
	StateTripped = "tripped" // most of its last records are refused: it probes from time to time
	StateDrained = "drained" // closed, and processed to its end
	StateBlocked = "blocked" // its parents are not drained yet
	StateClosed  = "closed"  // its workflow ended before it was drained, and is to be started again
)

// Hold keeps a shard paused.
type Hold struct {
	By     string    `json:"by"` // whose it is: each has one, and a shard runs when none is left
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"` // then it expires; zero: when it is lifted
	// Generation, if it is not zero, is what the cache of indexed ids is raised
	// to before the shard goes on: see dedup.Cache.
	Generation uint64 `json:"generation,omitempty"`
	// Order, if it is not zero, is higher in each later command in the name of the
	// same holder: a shard ignores one that a later one has overtaken.
	Order uint64 `json:"order,omitempty"`
	// Tenant is for CommandLift, which makes no hold: the offender to be judged
	// anew; empty: all.
	Tenant string `json:"tenant,omitempty"`
}

// Command is what an operator, or a recovery, wants of a shard.
type Command struct {
	Name string `json:"name"`          // one of the commands below
	Hold Hold   `json:"hold,omitzero"` // the one to make, or to lift
}

// Names of commands.
const (
	CommandPause  = "pause"
	CommandResume = "resume"
	CommandCancel = "cancel"
	CommandLift   = "lift" // of a shard: forget that a tenant is an offender
)
