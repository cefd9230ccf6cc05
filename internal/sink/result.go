package sink

import (
	"time"

	"millrace/internal/limiter"
	"millrace/internal/outcome"
)

// Result is what became of one bulk request.
type Result struct {
	// Class is of the request as a whole. Indexed means that every document
	// was answered for: look at Items. With any other class no document may be
	// taken for indexed, though some may be.
	Class    outcome.Class
	Items    []Item        // those that were not simply created, by position
	Error    outcome.Error // why, when Class is not Indexed
	TimedOut bool          // Transient, because the server had the body and did not answer in time
	// Overloaded: fewer requests at once would help, by the error of the request or
	// of one of its documents.
	Overloaded bool
	Took       time.Duration
	Bytes      int // of the body
}

// Feedback is what a Limiter learns from the result.
func (r Result) Feedback() limiter.Feedback {
	f := limiter.Feedback{Verdict: limiter.Neutral, Took: r.Took, Bytes: r.Bytes}
	switch {
	case r.Overloaded:
		f.Verdict = limiter.Overloaded
	case r.Class == outcome.Indexed:
		f.Verdict = limiter.Fine
	case r.Class == outcome.TooLarge:
		f.Verdict = limiter.Oversized
	}
	return f
}

// Item is a document that was not simply created.
type Item struct {
	Position  int // in the bulk
	Class     outcome.Class
	Duplicate bool // Indexed, but earlier
	Error     outcome.Error
	// IndexAlone: its index is out of service for a reason of its own, such as
	// being closed, and the others are not.
	IndexAlone bool
}
