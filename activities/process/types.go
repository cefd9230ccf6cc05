package process

import (
	"millrace/activities"
)

// The activity types of this package.
const (
	IndexShard  activities.Type[IndexInput, IndexResult] = "IndexShard"
	IndexRange  activities.Type[RangeInput, RangeResult] = "IndexRange"
	BuryRange   activities.Type[RangeInput, RangeResult] = "BuryRange"
	CopyHeld    activities.Type[HeldInput, HeldResult]   = "CopyHeld"
	ReleaseHeld activities.Action[HeldInput]             = "ReleaseHeld"
)
