package ops_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"millrace/internal/ops"
)

// TestMetricsNameWhatIsMissing: each dependency, whether it is required or not.
func TestMetricsNameWhatIsMissing(t *testing.T) {
	t.Parallel()
	works := func(context.Context) error { return nil }
	fails := func(context.Context) error { return errors.New("it is away") }
	handler := ops.Handler(ops.Checks{
		Required: map[string]ops.Check{"temporal": works}, OneOf: map[string]ops.Check{"kinesis": fails, "sqs": works}, Optional: map[string]ops.Check{"shards": fails},
	})
	status, body := get(handler, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	for dependency, value := range map[string]string{"temporal": "0", "kinesis": "1", "sqs": "0", "shards": "1"} {
		if want := `millrace_dependency_missing{dependency="` + dependency + `"} ` + value + "\n"; !strings.Contains(string(body), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if !strings.Contains(string(body), "go_goroutines") {
		t.Error("the metrics of the process are missing")
	}
}
