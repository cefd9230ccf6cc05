package supervise

import (
	"millrace/activities"
)

// The activity types of this package.
const (
	SuperviseShards activities.Type[Input, Result]  = "SuperviseShards"
	CommandShards   activities.Action[CommandInput] = "CommandShards"
)
