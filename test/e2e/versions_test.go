package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"millrace/internal/config"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// becomeCurrent makes a version the one in which workflows begin, and in which
// those go on that have no end, as soon as workers of it poll.
func (s *system) becomeCurrent(version string) {
	s.t.Helper()
	deployment := s.operator.WorkerDeploymentClient().GetHandle(config.Deployment)
	s.await(func() error {
		_, err := deployment.SetCurrentVersion(s.t.Context(), client.WorkerDeploymentSetCurrentVersionOptions{BuildID: version})
		return err
	})
}

// awaitVersion waits until a version has worked on a workflow.
func (s *system) awaitVersion(workflow, want string) {
	s.t.Helper()
	s.await(func() error {
		described, err := s.operator.DescribeWorkflowExecution(s.t.Context(), workflow, "")
		if err != nil {
			return err
		}
		if got := described.GetWorkflowExecutionInfo().GetVersioningInfo().GetDeploymentVersion().GetBuildId(); got != want {
			return fmt.Errorf("%s is in version %q, not %q", workflow, got, want)
		}
		return nil
	})
}

// TestNewVersionTakesOver what has no end. A batch ends in the version in which
// it began.
func TestNewVersionTakesOver(t *testing.T) {
	t.Parallel()
	b := &bisecting{}
	b.system = start(t, func(at *servers) {
		b.elasticsearch = proxyOf(t, at.elasticsearch)
		at.elasticsearch, at.shards, at.version = b.elasticsearch.URL(), 1, "one"
		b.elasticsearch.Set(faultproxy.Rule{Name: "all refused", Path: "/_bulk", Fault: refused.Fault})
	})
	b.becomeCurrent("one")
	b.send()
	var batches []string
	b.await(func() error {
		if batches = b.running("ProcessBatch"); len(batches) == 0 {
			return errors.New("no batch is open")
		}
		return nil
	})
	shard := b.running("ProcessShard")[0]
	b.awaitVersion(shard, "one")

	_, err := b.StartWorker(t.Context(), append(slices.Clone(workerEnv), "MILLRACE_BUILD_ID=two")...)
	b.must(err)
	b.becomeCurrent("two")
	for _, order := range []string{"pause", "resume"} { // else it would go on with its next call of IndexShard
		b.await(func() error { // the server may not have seen that the new version polls
			_, err := b.Starter(t.Context(), "shard", order, "0")
			return err
		})
	}
	b.awaitVersion(shard, "two")

	b.elasticsearch.Set()
	for _, batch := range batches {
		// It need not wait for its next attempt, with which it may have ended.
		_, err := b.Starter(t.Context(), "batch", "retry", batch)
		described, describeErr := b.operator.DescribeWorkflowExecution(t.Context(), batch, "")
		b.must(describeErr)
		if described.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			b.must(err)
		}
	}
	b.awaitDocuments(bisectedRecords)
	b.await(func() error {
		if open := b.running("ProcessBatch"); len(open) > 0 {
			return fmt.Errorf("%v still run", open)
		}
		return nil
	})
	for _, batch := range batches {
		b.awaitVersion(batch, "one")
	}

	b.post("/v1/telemetry", "application/json", []byte(`[{"id":"later","type":"event"}]`), http.StatusAccepted)
	b.awaitDocuments(bisectedRecords + 1)
	report, err := audit.Run(t.Context(), b.stores)
	b.must(err)
	if report.Others != bisectedRecords+1 || report.Duplicated > 0 {
		t.Errorf("the audit says %+v", report)
	}
}
