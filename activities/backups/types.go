package backups

import (
	"millrace/activities"
)

// The activity types of this package.
const (
	CopyShard activities.Type[CopyInput, CopyResult] = "CopyShard"
)
