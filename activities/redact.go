package activities

import (
	"fmt"
	"regexp"
	"strings"

	"millrace/internal/index"
)

// failure is what a server answered, as an error that shows no document.
func failure(e index.Error) error {
	e = withoutBody(e)
	return fmt.Errorf("%s: %s", e.Type, e.Reason)
}

// quoted is where servers quote values of a document.
var quoted = regexp.MustCompile(`'[^']*'|"[^"]*"`)

// longestReason bounds in bytes what histories and logs keep of a reason.
const longestReason = 300

// withoutBody is an error as it may stand in logs and histories: without what
// it quotes of a document. The ledger alone has it exact.
func withoutBody(e index.Error) index.Error {
	e.Cause = nil
	e.Reason, _, _ = strings.Cut(e.Reason, "Preview of field's value")
	e.Reason = quoted.ReplaceAllString(e.Reason, "'…'")
	if len(e.Reason) > longestReason {
		e.Reason = strings.ToValidUTF8(e.Reason[:longestReason], "") + "…"
	}
	return e
}
