package deadletters

import (
	"millrace/activities"
)

// The activity types of this package.
const (
	KeepLetters      activities.Type[KeepCall, KeepProgress]           = "KeepLetters"
	ReprocessEntries activities.Type[ReprocessCall, ReprocessProgress] = "ReprocessEntries"
	DrainParked      activities.Type[DrainCall, DrainResult]           = "DrainParked"
)
