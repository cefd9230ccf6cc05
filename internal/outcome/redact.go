package outcome

import (
	"fmt"
	"regexp"
	"strings"
)

// quoted is where servers quote values of a document.
var quoted = regexp.MustCompile(`'[^']*'|"[^"]*"`)

// LongestReason bounds in bytes what histories and logs keep of a reason.
const LongestReason = 300

// Redacted is the error as logs and histories may have it: without what it quotes
// of a document. The ledger alone has it exact.
func (e Error) Redacted() Error {
	e.Cause = nil
	e.Reason, _, _ = strings.Cut(e.Reason, "Preview of field's value")
	e.Reason = quoted.ReplaceAllString(e.Reason, "'…'")
	if len(e.Reason) > LongestReason {
		e.Reason = strings.ToValidUTF8(e.Reason[:LongestReason], "") + "…"
	}
	return e
}

// position is where some servers say of a document in which line and column it is wrong.
var position = regexp.MustCompile(`^\[\d+:\d+\] `)

// Alike is the error without what differs from record to record, which is a
// tenant's as well: errors that are alike have one cause.
func (e Error) Alike() Error {
	e.Reason = position.ReplaceAllString(e.Reason, "")
	e = e.Redacted()
	return Error{Type: e.Type, Reason: strings.TrimRight(e.Reason, " ")}
}

// Failure is what a server answered, as a Go error that shows no document.
func (e Error) Failure() error {
	e = e.Redacted()
	return fmt.Errorf("%s: %s", e.Type, e.Reason)
}
