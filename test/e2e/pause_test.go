package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"millrace/internal/control"
	"millrace/internal/longcall"
)

// indexing returns the activity IndexShard of each shard.
func (s *system) indexing() map[string]*workflowpb.PendingActivityInfo {
	s.t.Helper()
	all := map[string]*workflowpb.PendingActivityInfo{}
	for _, id := range s.running("ProcessShard") {
		described, err := s.operator.DescribeWorkflowExecution(s.t.Context(), id, "")
		s.must(err)
		for _, pending := range described.GetPendingActivities() {
			if pending.GetActivityType().GetName() == "IndexShard" {
				all[id] = pending
			}
		}
	}
	return all
}

// some is how many records postEvents posts.
const some = 20

// postEvents posts records with new ids.
func (s *system) postEvents(from int) {
	s.t.Helper()
	var body strings.Builder
	for i := range some {
		fmt.Fprintf(&body, `{"id":"paused-%d","type":"event","timestamp":%q}`+"\n", from+i, time.Now().UTC().Format(time.RFC3339))
	}
	s.post("/v1/telemetry", "application/x-ndjson", []byte(body.String()), http.StatusAccepted)
}

// Temporal's own buttons pause and reset IndexShard. The call must not end with success,
// which would end the pause, and its next attempt goes on where it stood.
func TestActivityPausedInTemporalHoldsItsShard(t *testing.T) {
	t.Parallel()
	s := start(t, func(at *servers) { at.direct = true }) // a record that is answered for is in the stream
	s.postEvents(0)
	s.awaitDocuments(some)

	const shards = 2
	var paused map[string]*workflowpb.PendingActivityInfo
	s.await(func() error { // a call may end meanwhile
		if paused = s.indexing(); len(paused) != shards {
			return fmt.Errorf("%d shards are being indexed", len(paused))
		}
		for id, activity := range paused {
			_, err := s.operator.WorkflowService().PauseActivity(t.Context(), &workflowservice.PauseActivityRequest{
				Namespace: s.temporal.Namespace, Execution: &common.WorkflowExecution{WorkflowId: id}, Identity: "eve", Reason: "a look",
				Activity: &workflowservice.PauseActivityRequest_Id{Id: activity.GetActivityId()},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	s.await(func() error {
		for id, activity := range s.indexing() {
			if activity.GetState() != enums.PENDING_ACTIVITY_STATE_PAUSED || activity.GetActivityId() != paused[id].GetActivityId() {
				return fmt.Errorf("%s: activity %s is %v", id, activity.GetActivityId(), activity.GetState())
			}
		}
		return nil
	})
	for id, activity := range s.indexing() {
		if activity.GetLastFailure().GetApplicationFailureInfo().GetType() != longcall.YieldType {
			t.Errorf("%s: it ended with %v", id, activity.GetLastFailure())
		}
	}
	said, err := s.Starter(t.Context(), "shards", "--json")
	s.must(err)
	var shown []struct {
		State string
		Holds []control.Hold
	}
	s.must(json.Unmarshal([]byte(said), &shown))
	for _, shard := range shown {
		if shard.State != control.StatePaused || len(shard.Holds) != 1 || shard.Holds[0].By != "eve" || !strings.Contains(shard.Holds[0].Reason, "IndexShard") {
			t.Errorf("starter shards says %+v", shard)
		}
	}

	s.postEvents(some)
	if indexed, err := s.stores.Indexed(t.Context()); err != nil || indexed != some {
		t.Errorf("%d documents while it is paused, %v", indexed, err)
	}
	for id, activity := range paused {
		_, err := s.operator.WorkflowService().UnpauseActivity(t.Context(), &workflowservice.UnpauseActivityRequest{
			Namespace: s.temporal.Namespace, Execution: &common.WorkflowExecution{WorkflowId: id},
			Activity: &workflowservice.UnpauseActivityRequest_Id{Id: activity.GetActivityId()},
		})
		s.must(err)
	}
	s.awaitDocuments(2 * some)

	if again, err := s.worker.Metric(t.Context(), "millrace_process_records_total", `="duplicate"`); err != nil || again != 0 {
		t.Errorf("%g records were read again after the pause, %v", again, err)
	}

	// The server takes nothing any more from a call that is reset: the next one goes on
	// from an earlier heartbeat, and what it reads again is skipped.
	for id, activity := range paused {
		_, err := s.operator.WorkflowService().ResetActivity(t.Context(), &workflowservice.ResetActivityRequest{
			Namespace: s.temporal.Namespace, Execution: &common.WorkflowExecution{WorkflowId: id},
			Activity: &workflowservice.ResetActivityRequest_Id{Id: activity.GetActivityId()},
		})
		s.must(err)
	}
	s.postEvents(2 * some)
	s.awaitDocuments(3 * some)
}
