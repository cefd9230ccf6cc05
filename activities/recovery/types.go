package recovery

import (
	"millrace/activities"
	"millrace/internal/control"
	"millrace/internal/telemetry"
)

// The activity types of this package.
const (
	PlanRecovery     activities.Type[PlanInput, Plan]                            = "PlanRecovery"
	HoldShards       activities.Type[HoldInput, map[string]telemetry.Checkpoint] = "HoldShards"
	ReleaseShards    activities.Action[control.Hold]                             = "ReleaseShards"
	RestoreIndices   activities.Type[RestoreInput, RestoreProgress]              = "RestoreIndices"
	ExtendWindow     activities.Type[ExtendInput, Plan]                          = "ExtendWindow"
	SweepObjects     activities.Type[SweepInput, SweepProgress]                  = "SweepObjects"
	AwaitBackup      activities.Type[AwaitInput, AwaitResult]                    = "AwaitBackup"
	ConcludeRecovery activities.Action[RecoverResult]                            = "ConcludeRecovery"
	BeginDrill       activities.Type[DrillCall, DrillBegun]                      = "BeginDrill"
	CompareDrill     activities.Type[DrillCall, DrillMissing]                    = "CompareDrill"
	EndDrill         activities.Type[DrillEnd, int]                              = "EndDrill"
)
