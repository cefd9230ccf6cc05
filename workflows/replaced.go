package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"

	"millrace/internal/source"
)

// isReplaced reports whether a call ended because its stream was deleted and made
// anew, and reads how far it came.
func isReplaced(err error, progress any) bool {
	var application *temporal.ApplicationError
	return errors.As(err, &application) && application.Type() == source.StreamReplaced && application.HasDetails() &&
		application.Details(progress) == nil
}
