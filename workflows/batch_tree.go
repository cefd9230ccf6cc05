package workflows

import (
	"slices"
	"time"

	"millrace/activities/process"
	"millrace/internal/outcome"
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
// a whole, or what has become of one that was split. A node forgets children
// that are done, and when all are, it is done: so the tree is never larger than
// what is open, and room bounds that.
type BatchNode struct {
	Range    telemetry.Range `json:"range"`
	State    string          `json:"state"`
	Attempts int             `json:"attempts"` // that failed; splitting is none
	Cause    outcome.Error   `json:"cause"`    // of the last one
	Due      time.Time       `json:"due,omitzero"`
	// Asked is what an operator wants of a piece while it is tried: Retry or
	// Skip what the attempt will leave of it.
	Asked string `json:"asked,omitempty"`
	// Untold: the last attempt was interrupted, and may have written records of
	// the piece to the ledger without a letter.
	Untold bool `json:"untold,omitempty"`
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

// Leaf returns the piece that is left to do and has a sequence number; nil if none
// has.
func (n *BatchNode) Leaf(sequence string) *BatchNode {
	for _, leaf := range n.leaves() {
		if leaf.Range.Contains(sequence) {
			return leaf
		}
	}
	return nil
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

// apply does what an operator wants with a leaf. With one that is being tried
// that has to wait for the end of the attempt; to skip it stands.
func (n *BatchNode) apply(command string, now time.Time) {
	switch {
	case n.State == NodeRunning:
		if n.Asked != Skip {
			n.Asked = command
		}
	case command == Skip:
		n.State, n.Due = NodeSkipped, now
	case command == Retry:
		n.Due = now
	}
}

// room is how many parts an attempt may leave, one at the least: while the tree
// is as large as it may be, what is left of a piece stays one.
func (n *BatchNode) room() int { return max(1, mostNodes-n.size()) }

func (n *BatchNode) size() int {
	size := 1
	for _, child := range n.Children {
		size += child.size()
	}
	return size
}

// end enters what an attempt at a leaf has left, and then does with that what
// an operator has asked for meanwhile.
func (n *BatchNode) end(result process.RangeResult, room int, now time.Time) {
	asked := n.Asked
	n.Asked = ""
	n.leave(result.Left, room, now)
	for _, leaf := range n.leaves() {
		leaf.Untold = result.Untold
		leaf.apply(asked, now)
	}
}

func (n *BatchNode) leave(left []process.LeftRange, room int, now time.Time) {
	for i := range left {
		if left[i].Cause.Type == "" { // it was interrupted
			left[i].Cause = n.Cause
		}
	}
	if len(left) == 0 {
		n.State = NodeDone
		return
	}
	if whole := n.Range.First == left[0].Range.First && n.Range.Last == left[0].Range.Last; len(left) == 1 && (whole || room == 1) {
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
func (n *BatchNode) fail(cause outcome.Error, now time.Time) {
	n.State, n.Cause = NodeWaiting, cause
	n.Attempts++
	n.Due = now.Add(min(firstBatchWait<<min(n.Attempts-1, 16), longestBatchWait))
}

// prune makes nodes done whose children are.
func (n *BatchNode) prune() {
	for _, child := range n.Children {
		child.prune()
	}
	n.Children = slices.DeleteFunc(n.Children, func(child *BatchNode) bool { return !child.open() })
	if n.State == NodeSplit && len(n.Children) == 0 {
		n.State, n.Children = NodeDone, nil
	}
}

// givenUp reports whether a leaf is on its way to the ledger.
func (n *BatchNode) givenUp() bool { return n.State == NodeSkipped || n.Asked == Skip }

// find returns the open nodes whose ranges match, each before its children.
func (n *BatchNode) find(match func(telemetry.Range) bool) (found []*BatchNode) {
	if !n.open() {
		return nil
	}
	if match(n.Range) {
		found = append(found, n)
	}
	for _, child := range n.Children {
		found = append(found, child.find(match)...)
	}
	return found
}
