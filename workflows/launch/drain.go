package launch

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/internal/telemetry"
	"millrace/workflows"
)

// StartDrain starts the DrainIndex of an index, or tells the one that runs that
// there is more: by a signal, since one that is about to end must not miss it.
func (l Launcher) StartDrain(ctx context.Context, stream telemetry.StreamID, index string) error {
	id := workflows.DrainIndexID(index)
	_, err := l.Client.SignalWithStartWorkflow(ctx, id, workflows.Parked, nil, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.DeadQueue, StaticSummary: "bring home what is parked for " + index,
		TypedSearchAttributes: temporal.NewSearchAttributes(workflows.Stage.ValueSet("dead")),
	}, workflows.DrainIndex, workflows.DrainInput{Stream: stream.Name, Index: index})
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}
