package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"millrace/internal/config"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// asker bounds the time that a worker may take to answer a query.
type asker struct {
	client.Client
	within time.Duration
}

func (a asker) QueryWorkflow(ctx context.Context, workflowID, runID, queryType string, args ...any) (converter.EncodedValue, error) {
	waiting, cancel := context.WithTimeout(ctx, a.within)
	defer cancel()
	answer, err := a.Client.QueryWorkflow(waiting, workflowID, runID, queryType, args...)
	if err != nil && waiting.Err() != nil { // the connection may say something else
		err = waiting.Err()
	}
	return answer, err
}

// dial connects to Temporal.
func dial(ctx context.Context, by who, logger *slog.Logger) (client.Client, error) {
	options, err := config.Temporal(logger)
	if err != nil {
		return nil, err
	}
	options.Identity = string(by)
	connected, err := client.DialContext(ctx, options)
	if err != nil {
		address := options.HostPort
		if address == "" {
			address = client.DefaultHostPort
		}
		return nil, fmt.Errorf("Temporal does not answer at %s: set TEMPORAL_ADDRESS (and TEMPORAL_TLS, TEMPORAL_API_KEY) or start it: %w", address, err) //nolint:staticcheck // Temporal is a name
	}
	return connected, nil
}

// pollersWithin bounds a look at who polls a task queue.
const pollersWithin = 5 * time.Second

// endless is a workflow that runs until it is stopped, and is found by its id.
type endless struct {
	client client.Client
	id     string
	queue  string // its task queue
}

// start starts it and reports whether it did not run already.
func (w endless) start(ctx context.Context, stage, summary string, function, in any) (started bool, err error) {
	_, err = w.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: w.id, TaskQueue: w.queue, StaticSummary: summary,
		WorkflowIDConflictPolicy:                 enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes:                    temporal.NewSearchAttributes(workflows.Stage.ValueSet(stage)),
	}, function, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("start %s: %w", w.id, advise(err, w.queue))
	}
	return true, nil
}

// startAndSay starts it and says what has become of it.
func (w endless) startAndSay(ctx context.Context, out output, stage, summary string, function, in any) error {
	started, err := w.start(ctx, stage, summary, function, in)
	if err != nil {
		return err
	}
	if started {
		fmt.Fprintf(out, "%s: started\n", w.id)
	} else {
		fmt.Fprintf(out, "%s: runs already\n", w.id)
	}
	if !w.polled(ctx) {
		fmt.Fprintf(out, "No worker polls %s yet: it goes on once one is started.\n", w.queue)
	}
	return nil
}

// failing says what an activity of it is tried again for; nothing, if none is.
func (w endless) failing(ctx context.Context) string {
	described, err := w.client.DescribeWorkflowExecution(ctx, w.id, "")
	if err != nil {
		return ""
	}
	for _, pending := range described.GetPendingActivities() {
		if message := pending.GetLastFailure().GetMessage(); message != "" {
			return pending.GetActivityType().GetName() + ": " + message
		}
	}
	return ""
}

// stopAndSay cancels it, waits until it has ended, and says so.
func (w endless) stopAndSay(ctx context.Context, out output, wait time.Duration) error {
	// Servers differ in whether it is an error to cancel what has ended.
	execution, err := w.execution(ctx)
	if err != nil {
		return err
	}
	if execution == executionRunning {
		err = w.client.CancelWorkflow(ctx, w.id, "")
	}
	if execution != executionRunning || isNotFound(err) {
		fmt.Fprintf(out, "%s: does not run\n", w.id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", w.id, advise(err, w.queue))
	}
	if wait <= 0 {
		fmt.Fprintf(out, "%s: is stopping\n", w.id)
		return nil
	}
	if !w.polled(ctx) {
		fmt.Fprintf(out, "%s: will stop once a worker polls %s\n", w.id, w.queue)
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err = w.client.GetWorkflow(waiting, w.id, "").Get(waiting, nil)
	var ended *temporal.WorkflowExecutionError // however it did
	if err != nil && !errors.As(err, &ended) {
		return fmt.Errorf("wait for the end of %s, which goes on stopping: %w", w.id, err)
	}
	fmt.Fprintf(out, "%s: stopped\n", w.id)
	return nil
}

// polled reports whether a worker polls its task queue. Where that cannot be
// told it says yes: this is for hints only.
func (w endless) polled(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pollersWithin)
	defer cancel()
	queue, err := w.client.DescribeTaskQueue(ctx, w.queue, enums.TASK_QUEUE_TYPE_WORKFLOW)
	return err != nil || len(queue.GetPollers()) > 0
}

// Executions of workflows that a status can name beside Temporal's own
// (Canceled, Terminated, …).
const (
	executionAbsent  = "absent" // it was never started, or that is past the namespace's retention
	executionRunning = "Running"
)

// execution returns the status of the last run. That it is paused in Temporal is an
// error, since it does nothing then that an operator could ask of it.
func (w endless) execution(ctx context.Context) (string, error) {
	described, err := w.client.DescribeWorkflowExecution(ctx, w.id, "")
	if isNotFound(err) {
		return executionAbsent, nil
	}
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", w.id, advise(err, w.queue))
	}
	return described.GetWorkflowExecutionInfo().GetStatus().String(), launch.Paused(described)
}

// query asks it for its status.
func (w endless) query(ctx context.Context, status any) error {
	answer, err := w.client.QueryWorkflow(ctx, w.id, "", workflows.StatusQuery)
	if err == nil {
		err = answer.Get(status)
	}
	if err != nil {
		return fmt.Errorf("query %s: %w", w.id, advise(err, w.queue))
	}
	return nil
}

// advise says with an error of Temporal what to do about it.
func advise(err error, queue string) error {
	var namespace *serviceerror.NamespaceNotFound
	var argument *serviceerror.InvalidArgument
	var precondition *serviceerror.FailedPrecondition
	var deadline *serviceerror.DeadlineExceeded
	switch {
	case errors.As(err, &namespace):
		return fmt.Errorf("there is no namespace %s: set TEMPORAL_NAMESPACE or create it: %w", namespace.Namespace, err)
	case errors.As(err, &argument) && strings.Contains(strings.ToLower(err.Error()), "search attribute"):
		return fmt.Errorf("run `starter setup` first: %w", err)
	case errors.As(err, &precondition), errors.As(err, &deadline), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no worker answered: check that one polls %s: %w", queue, err)
	}
	return err
}

// unasked says of a workflow that does not answer a query if it has ended, too.
func unasked(execution string, err error) error {
	if execution == executionRunning {
		return err
	}
	return fmt.Errorf("its last run is %s, and cannot be asked: %w", strings.ToLower(execution), err)
}

func isNotFound(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}

// explainEnd says why a run has not ended well, or that its end could not be awaited.
func (w endless) explainEnd(err error) error {
	var failed *temporal.ApplicationError
	var canceled *temporal.CanceledError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%s: %s", failed.Type(), failed.Message())
	case errors.As(err, &canceled):
		return fmt.Errorf("%s: it was canceled", w.id)
	}
	return fmt.Errorf("wait for the end of %s, which goes on: %w", w.id, advise(err, w.queue))
}
