package ingest

import (
	"millrace/activities"
)

// The activity types of this package.
const (
	PutBatch         activities.Type[[]byte, PutResult]              = "PutBatch"
	FinishBatch      activities.Type[FinishInput, PutResult]         = "FinishBatch"
	BuryBatch        activities.Type[FinishInput, PutResult]         = "BuryBatch"
	ReconcileBatches activities.Type[ReconcileInput, ReconcileInput] = "ReconcileBatches"
)
