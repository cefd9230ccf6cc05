package supervise

import (
	"millrace/activities"
)

// The activity types of this package.
const (
	SuperviseShards activities.Type[SuperviseInput, SuperviseResult] = "SuperviseShards"
	CommandShards   activities.Action[CommandInput]                  = "CommandShards"
)
