// Package runs runs activities in tests, as a worker would.
package runs

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
)

// Execute runs an activity once.
func Execute[In, Out any](t *testing.T, activity func(context.Context, In) (Out, error), in In) (Out, error) {
	t.Helper()
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterActivity(activity)
	var out Out
	encoded, err := env.ExecuteActivity(activity, in)
	if err == nil {
		err = encoded.Get(&out)
	}
	return out, err
}

// Must runs an activity once, which is to succeed.
func Must[In, Out any](t *testing.T, activity func(context.Context, In) (Out, error), in In) Out {
	t.Helper()
	out, err := Execute(t, activity, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
