package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/canary"
	"millrace/internal/config"
	"millrace/workflows"
)

type canaryStatus struct{ format }

// canaryHealth is what the runs of a stream's canary say.
type canaryHealth struct {
	Schedule string         `json:"schedule"` // every, paused or none
	Windows  []canaryWindow `json:"windows"`
	Last     *canaryLast    `json:"last,omitempty"`
}

// canaryWindow counts the runs that ended in a time until now.
type canaryWindow struct {
	Window     string `json:"window"`
	Available  int64  `json:"available"` // each record could be searched in time
	Failed     int64  `json:"failed"`
	Unmeasured int64  `json:"unmeasured"` // no worker took the run, or an operator ended it
	// Availability is the share of Available in what was measured; absent if nothing was.
	Availability *float64 `json:"availability,omitempty"`
}

// canaryLast is the last run that ended.
type canaryLast struct {
	Workflow string        `json:"workflow"`
	Ended    time.Time     `json:"ended"`
	Status   string        `json:"status"`
	Report   canary.Report `json:"report"`
	Error    string        `json:"error,omitempty"`
}

// why says for what the run has failed.
func (l canaryLast) why() string {
	texts := make([]string, 0, len(l.Report.Probes))
	for _, probe := range l.Report.Failed() {
		texts = append(texts, probe.String())
	}
	return inOneLine(cmp.Or(strings.Join(texts, "; "), l.Error), longestDetail)
}

// Run counts the runs of the last hour and day.
func (s canaryStatus) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	id := workflows.CanaryID(r.Stream)
	health := canaryHealth{}
	var err error
	if health.Schedule, err = scheduleOf(ctx, c, id); err != nil {
		return err
	}
	for _, window := range []struct {
		name string
		time.Duration
	}{{"1h", time.Hour}, {"24h", 24 * time.Hour}} {
		counted, err := countCanaries(ctx, c, id, window.name, window.Duration)
		if err != nil {
			return err
		}
		health.Windows = append(health.Windows, counted)
	}
	if health.Last, err = lastCanary(ctx, c, id); err != nil {
		return err
	}
	return s.print(out, health, func() { writeCanary(out, id, health) })
}

func writeCanary(out output, id string, h canaryHealth) {
	fmt.Fprintf(out, "schedule %s: %s\n", id, h.Schedule)
	for _, w := range h.Windows {
		if w.Availability == nil {
			fmt.Fprintf(out, "last %s: no run\n", w.Window)
			continue
		}
		fmt.Fprintf(out, "last %s: %.3f %% available: %d of %d runs", w.Window, 100**w.Availability, w.Available, w.Available+w.Failed)
		if w.Unmeasured > 0 {
			fmt.Fprintf(out, "; %d more were not taken by a worker, or ended by an operator", w.Unmeasured)
		}
		fmt.Fprintln(out)
	}
	if h.Last == nil {
		return
	}
	fmt.Fprintf(out, "last run, %s, at %s: %s\n", h.Last.Workflow, clock(h.Last.Ended), h.Last.Status)
	if len(h.Last.Report.Probes) == 0 && h.Last.Error != "" {
		fmt.Fprintln(out, "  "+h.Last.Error)
	}
	for _, probe := range h.Last.Report.Probes {
		fmt.Fprintln(out, "  "+probe.String())
	}
}

// scheduleOf says how often a schedule runs.
func scheduleOf(ctx context.Context, c client.Client, id string) (string, error) {
	described, err := c.ScheduleClient().GetHandle(ctx, id).Describe(ctx)
	switch {
	case isNotFound(err):
		return "none", nil
	case err != nil:
		return "", fmt.Errorf("describe schedule %s: %w", id, advise(err, ""))
	case described.Schedule.State != nil && described.Schedule.State.Paused:
		return "paused: " + orDash(described.Schedule.State.Note), nil
	}
	return "every " + every(described).String(), nil
}

// ofCanary is a query for the runs of a canary, the schedule's and those by hand.
func ofCanary(id string) string {
	return fmt.Sprintf("WorkflowType = 'Canary' AND (TemporalScheduledById = '%s' OR WorkflowId = '%[1]s')", id)
}

func countCanaries(ctx context.Context, c client.Client, id, name string, window time.Duration) (canaryWindow, error) {
	w := canaryWindow{Window: name}
	answer, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
		Query: fmt.Sprintf("%s AND CloseTime > '%s' GROUP BY ExecutionStatus", ofCanary(id), time.Now().Add(-window).UTC().Format(time.RFC3339)),
	})
	if err != nil {
		return w, fmt.Errorf("count the runs of the canary: %w", advise(err, ""))
	}
	for _, group := range answer.GetGroups() {
		switch statusOf(group.GetGroupValues()) {
		case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED.String():
			w.Available += group.GetCount()
		case enums.WORKFLOW_EXECUTION_STATUS_FAILED.String():
			w.Failed += group.GetCount()
		default:
			w.Unmeasured += group.GetCount()
		}
	}
	if measured := w.Available + w.Failed; measured > 0 {
		share := float64(w.Available) / float64(measured)
		w.Availability = &share
	}
	return w, nil
}

// statusOf reads the value by which workflows were grouped.
func statusOf(values []*common.Payload) (status string) {
	if len(values) != 1 || converter.GetDefaultDataConverter().FromPayload(values[0], &status) != nil {
		return ""
	}
	return status
}

// lastCanary returns the run that ended last; nil if there is none.
func lastCanary(ctx context.Context, c client.Client, id string) (*canaryLast, error) {
	listed, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query: ofCanary(id) + " AND CloseTime IS NOT NULL", PageSize: 1, // the server lists the last one first
	})
	if err != nil {
		return nil, fmt.Errorf("list the runs of the canary: %w", advise(err, ""))
	}
	if len(listed.GetExecutions()) == 0 {
		return nil, nil
	}
	run := listed.GetExecutions()[0]
	last := &canaryLast{Workflow: run.GetExecution().GetWorkflowId(), Ended: run.GetCloseTime().AsTime(), Status: run.GetStatus().String()}
	var failed *temporal.ApplicationError
	switch err := c.GetWorkflow(ctx, last.Workflow, run.GetExecution().GetRunId()).Get(ctx, &last.Report); {
	case errors.As(err, &failed) && failed.Type() == workflows.CanaryFailed && failed.Details(&last.Report) == nil:
	case err != nil:
		last.Error = inOneLine(err.Error(), longestDetail)
	}
	return last, nil
}
