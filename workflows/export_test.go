package workflows

const (
	FirstBatchWait   = firstBatchWait
	FirstProbe       = firstProbe
	LongestBatchWait = longestBatchWait
	LongestProbe     = longestProbe
	MostCopied       = mostCopied
	MostNodes        = mostNodes
	RecoverHolder    = recoverHolder
	StateFailed      = stateFailed
	TrimFor          = trimFor
)

// The tree of a ProcessBatch.
var (
	Due    = (*BatchNode).due
	End    = (*BatchNode).end
	Leaves = (*BatchNode).leaves
	Next   = (*BatchNode).next
	Open   = (*BatchNode).open
	Pieces = pieces
	Prune  = (*BatchNode).prune
	Room   = (*BatchNode).room
	Size   = (*BatchNode).size
)
