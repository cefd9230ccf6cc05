package workflows

import (
	"bytes"
	"encoding/json"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Operators write inputs by hand, in the UI and with temporal. A member that no input has
// is a slip, and what it was to say would not happen: {"dryRum":true} would be a real
// recovery. So such inputs are refused, before anything is done. Those of workflows that
// workers start, such as DrainIndex, are not: a worker of a newer version may have written
// them, and what they do must not wait for an operator.

// unknown names a member of an input that means nothing; empty if there is none.
type unknown string

// decode decodes an input, whatever it has beyond the members of in.
func (u *unknown) decode(text []byte, in any) error {
	strictly := json.NewDecoder(bytes.NewReader(text))
	strictly.DisallowUnknownFields()
	err := strictly.Decode(in)
	if err == nil {
		*u = ""
		return nil
	}
	*u = unknown(err.Error())
	return json.Unmarshal(text, in)
}

// refuse fails a workflow whose input has an unknown member. That of a run which went on
// from another may have been written by a newer version, before a rollback; and one that
// began before there was this check goes on.
func (u unknown) refuse(ctx workflow.Context) error {
	if u == "" || workflow.GetInfo(ctx).ContinuedExecutionRunID != "" ||
		workflow.GetVersion(ctx, "unknown-members", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	return temporal.NewNonRetryableApplicationError("the input: "+string(u), InvalidInput, nil)
}

// strict is the input of an update or a signal.
type strict[T any] struct {
	value   T
	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *strict[T]) UnmarshalJSON(text []byte) error { return s.unknown.decode(text, &s.value) }

// validate refuses an update.
func (s strict[T]) validate() error {
	if s.unknown == "" {
		return nil
	}
	return temporal.NewNonRetryableApplicationError("the input: "+string(s.unknown), InvalidInput, nil)
}
