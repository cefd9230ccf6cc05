// Package canary posts records as an agent does, and looks whether they can be searched.
package canary

import "millrace/activities"

// The activity types of this package.
const (
	ProbeCollectors   activities.Type[ProbeInput, Report] = "ProbeCollectors"
	DropCanaryIndices activities.Action[DropInput]        = "DropCanaryIndices"
)
