package workflows

import (
	"slices"
	"time"

	"millrace/activities"
	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// States of a BatchNode.
const (
	NodeWaiting = "waiting" // for its next attempt
	NodeRunning = "running"
	NodeSplit   = "split" // its children go on
	NodeSkipped = "skipped"
	NodeDone    = "done" // indexed, or in the ledger
)

// BatchNode is a piece of the range of a ProcessBatch: a leaf that is tried as
// a whole, or what has become of one that was split. A node whose children are
// all done is done, and forgets them: so the tree is never larger than what is
// open.
type BatchNode struct {
	Range    telemetry.Range `json:"range"`
	State    string          `json:"state"`
	Attempts int             `json:"attempts"` // that failed; splitting is none
	Cause    index.Error     `json:"cause"`    // of the last one
	Due      time.Time       `json:"due,omitzero"`
	// Waited is how long it has waited between attempts in all.
	Waited   time.Duration `json:"waited,omitempty"`
	Children []*BatchNode  `json:"children,omitempty"`
}

// open reports whether something is left to do.
func (n *BatchNode) open() bool { return n.State != NodeDone }

// leaves are the pieces that are left to do, in the order of the shard.
func (n *BatchNode) leaves() (leaves []*BatchNode) {
	switch n.State {
	case NodeDone:
		return nil
	case NodeSplit:
		for _, child := range n.Children {
			leaves = append(leaves, child.leaves()...)
		}
		return leaves
	}
	return []*BatchNode{n}
}

// due returns the first piece whose time has come; nil if there is none.
func (n *BatchNode) due(now time.Time) *BatchNode {
	for _, leaf := range n.leaves() {
		if !leaf.Due.After(now) {
			return leaf
		}
	}
	return nil
}

// next is when the next piece is due. The tree is open.
func (n *BatchNode) next() (next time.Time) {
	for _, leaf := range n.leaves() {
		if next.IsZero() || leaf.Due.Before(next) {
			next = leaf.Due
		}
	}
	return next
}

// end enters what an attempt at a leaf has left.
func (n *BatchNode) end(left []activities.LeftRange, now time.Time) {
	if len(left) == 0 {
		n.State = NodeDone
		return
	}
	if len(left) == 1 && left[0].Range.First == n.Range.First && left[0].Range.Last == n.Range.Last {
		n.fail(left[0].Cause, now)
		return
	}
	n.State = NodeSplit
	for _, part := range left {
		child := &BatchNode{Range: part.Range, State: NodeWaiting, Attempts: n.Attempts, Waited: n.Waited, Cause: part.Cause, Due: now}
		if !part.Half {
			child.fail(part.Cause, now)
		}
		n.Children = append(n.Children, child)
	}
}

// fail enters an attempt that failed for the piece as such.
func (n *BatchNode) fail(cause index.Error, now time.Time) {
	n.State, n.Cause = NodeWaiting, cause
	n.Attempts++
	n.Due = now.Add(min(firstBatchWait<<min(n.Attempts-1, 16), longestBatchWait))
}

// prune makes nodes done whose children are.
func (n *BatchNode) prune() {
	for _, child := range n.Children {
		child.prune()
	}
	if n.State == NodeSplit && !slices.ContainsFunc(n.Children, (*BatchNode).open) {
		n.State, n.Children = NodeDone, nil
	}
}

// find returns the open node of a branch, or nil.
func (n *BatchNode) find(b Branch) *BatchNode {
	if !n.open() {
		return nil
	}
	if b == (Branch{}) || b.First == n.Range.First && b.Last == n.Range.Last {
		return n
	}
	for _, child := range n.Children {
		if found := child.find(b); found != nil {
			return found
		}
	}
	return nil
}
