package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"go.temporal.io/sdk/client"

	"millrace/internal/config"
	"millrace/workflows"
)

type redriveCommands struct {
	Start  redriveStart  `cmd:"" help:"Start it: what waits in the queue goes into the stream."`
	Stop   redriveStop   `cmd:"" help:"Stop it: what is not in the stream yet stays in the queue."`
	Status redriveStatus `cmd:"" help:"Show whether it runs, and what it has done."`
}

// redriveInput is the input of the workflow Redrive.
type redriveInput struct {
	Queue string `json:"queue"`
}

func redriving(c client.Client, r *config.Resources) endless {
	return endless{c, workflows.RedriveID(r.Queue), workflows.RedriveQueue}
}

type redriveStart struct{}

// Run starts Redrive.
func (redriveStart) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return redriving(c, r).startAndSay(ctx, out, "redrive", "queue "+r.Queue, "Redrive", redriveInput{Queue: r.Queue})
}

type redriveStop struct{ wait }

// Run cancels Redrive.
func (s redriveStop) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return redriving(c, r).stopAndSay(ctx, out, s.Wait)
}

type redriveStatus struct{ format }

// queueStatus is what Redrive says, and whether it runs.
type queueStatus struct {
	Workflow  string          `json:"workflow"`
	Execution string          `json:"execution"` // Temporal's word for it, or absent
	Status    json.RawMessage `json:"status,omitempty"`
}

// Run prints the status of Redrive.
func (s redriveStatus) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	w := redriving(c, r)
	status := queueStatus{Workflow: w.id}
	var err error
	if status.Execution, err = w.execution(ctx); err != nil {
		return err
	}
	if status.Execution != executionAbsent {
		if err := w.query(ctx, &status.Status); err != nil {
			return err
		}
	}
	return s.print(out, status, func() {
		if status.Execution == executionAbsent {
			fmt.Fprintf(out, "%s: never started, see `starter redrive start`\n", w.id)
			return
		}
		fmt.Fprintf(out, "%s: %s\n%s\n", w.id, strings.ToLower(status.Execution), status.Status)
	})
}
