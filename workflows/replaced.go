package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"

	"millrace/activities"
)

// isReplaced reports whether a call ended because its stream was deleted and made
// anew, and reads how far it came.
func isReplaced(err error, progress any) bool {
	var application *temporal.ApplicationError
	return errors.As(err, &application) && application.Type() == activities.StreamReplaced && application.HasDetails() &&
		application.Details(progress) == nil
}
