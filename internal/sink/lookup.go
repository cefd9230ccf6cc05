package sink

import (
	"fmt"

	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// Reference names a document.
type Reference struct {
	Index string `json:"_index"`
	ID    string `json:"_id"`
}

// LookupError says that documents could not be looked up, each for a reason of
// its own, while others could.
type LookupError struct {
	Document Reference     // the first of them
	Cause    outcome.Error // its own
	Closed   bool          // the reason is of all of them that their index is closed
}

// Error implements error.
func (e *LookupError) Error() string {
	return fmt.Sprintf("look for document %s in %s: %s", e.Document.ID, e.Document.Index, e.Cause.Type)
}

// Found is what a look says of a document.
type Found struct {
	There  bool
	Digest telemetry.Digest // that the document carries; zero of one without
}
