package outcome

import (
	"strings"
	"testing"
)

func TestErrorsShowNoDocument(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"failed to parse field [duration] of type [long] in document with id 'x'. Preview of field's value: 'my secret'": "failed to parse field [duration] of type [long] in document with id '…'. ",
		`For input string: "my secret"`: "For input string: '…'",
		"plain":                         "plain",
	} {
		got := Error{Type: "t", Reason: reason, Status: 400, Cause: &Error{Reason: "my secret"}}.Redacted()
		if got != (Error{Type: "t", Reason: want, Status: 400}) {
			t.Errorf("%q became %+v", reason, got)
		}
	}
	if got := (Error{Reason: strings.Repeat("é", 1000)}).Redacted(); len(got.Reason) > LongestReason+len("…") {
		t.Errorf("%d bytes are left", len(got.Reason))
	}
}
