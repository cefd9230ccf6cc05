package longcall

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"millrace/internal/outcome"
)

// CatchPanic turns a panic into an error. Defer it. A panic is our own fault, so its
// stack goes to the log at once.
func CatchPanic(err *error) {
	if reason := recover(); reason != nil {
		slog.Error("recovered from a panic", "panic", reason, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%s: %v", outcome.TypePanic, reason)
	}
}
