package launch

import (
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/converter"

	"millrace/workflows"
)

func TestABatchHasTheLimitsOfItsLauncher(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	bad := s.refuseRanges()
	s.Limits = workflows.BatchLimits{Attempts: 1, Age: time.Hour}
	if err := s.StartBatch(t.Context(), testStream, wholeRange, badCause, time.Time{}); err != nil {
		t.Fatal(err)
	}
	var got workflows.BatchStatus
	if err := s.GetWorkflow(t.Context(), workflows.ProcessBatchID(testStream.Name, wholeRange), "").Get(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	if got.MaxAttempts != 1 || bad.tries.Load() != 1 || got.Counts.DeadLetters != 10 {
		t.Errorf("after %d attempts it ended with %+v", bad.tries.Load(), got)
	}
	first, err := s.GetWorkflowHistory(t.Context(), workflows.ProcessBatchID(testStream.Name, wholeRange), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT).Next()
	if err != nil {
		t.Fatal(err)
	}
	var in workflows.BatchInput
	if err := converter.GetDefaultDataConverter().FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), &in); err != nil || in.MaxAge != time.Hour {
		t.Errorf("it began with %+v, %v", in, err)
	}
}
