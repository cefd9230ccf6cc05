package snapshots

import (
	"millrace/activities"
)

// The activity types of this package.
const (
	PlanSnapshot     activities.Type[SnapshotCall, SnapshotPlan]  = "PlanSnapshot"
	BeginSnapshot    activities.Type[SnapshotCall, SnapshotBegun] = "BeginSnapshot"
	FollowSnapshot   activities.Type[SnapshotCall, SnapshotLook]  = "FollowSnapshot"
	AbandonSnapshot  activities.Action[SnapshotCall]              = "AbandonSnapshot"
	ExpireSnapshots  activities.Type[ExpireCall, Expired]         = "ExpireSnapshots"
	EnforceRetention activities.Type[RetentionCall, Retirement]   = "EnforceRetention"
	TrimIndices      activities.Type[TrimCall, Retirement]        = "TrimIndices"
)
