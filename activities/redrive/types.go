package redrive

import (
	"millrace/activities"
)

// The activity types of this package.
const (
	RedriveMessages activities.Type[Call, Progress] = "RedriveMessages"
)
