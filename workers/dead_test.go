package workers

import (
	"errors"
	"strings"
	"testing"

	"go.temporal.io/sdk/temporal"

	"millrace/activities/deadletters"
	"millrace/internal/telemetry"
)

func TestSinkWithoutLookupsRefusesToIngestAgain(t *testing.T) {
	t.Parallel()
	d := DirectOnly{&deadletters.Reprocessor{Stream: telemetry.StreamID{Name: "other"}}}
	for _, dry := range []bool{true, false} {
		_, err := d.ReprocessEntries(t.Context(), deadletters.ReprocessCall{Stream: "telemetry", Mode: deadletters.ModeIngest, DryRun: dry})
		var refused *temporal.ApplicationError
		if !errors.As(err, &refused) || !refused.NonRetryable() || !strings.Contains(err.Error(), "--direct") {
			t.Errorf("a dry run %v ends with %v", dry, err)
		}
	}
	// Passed on, this one is refused for its stream.
	_, err := d.ReprocessEntries(t.Context(), deadletters.ReprocessCall{Stream: "telemetry", Mode: deadletters.ModeDirect})
	if err == nil || !strings.Contains(err.Error(), "this worker reads other") {
		t.Errorf("directly it ends with %v", err)
	}
}
