package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"millrace/deploy/local/localtest"
	"millrace/internal/stream"
	"millrace/test/kit/faultproxy"
	"millrace/workflows"
)

// controls are those of Temporal that end a run, as its command line tool has them.
var controls = map[string][]string{
	"cancel":    {"workflow", "cancel"},
	"terminate": {"workflow", "terminate", "--reason", "a test"},
	"reset":     {"workflow", "reset", "--type", "FirstWorkflowTask", "--reason", "a test"},
}

// give gives a control to a workflow.
func (s *system) give(control, id string) error {
	s.t.Helper()
	args := append(slices.Clone(controls[control]), "--workflow-id", id, "--address", s.temporal.HostPort, "--namespace", s.temporal.Namespace)
	cmd := exec.CommandContext(s.t.Context(), localtest.TemporalCLI(s.t), args...)
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("temporal %v: %w\n%s", args, err, said)
	}
	return nil
}

// runOf returns the last run of a workflow, and whether it is open.
func (s *system) runOf(id string) (run string, open bool) {
	s.t.Helper()
	described, err := s.operator.DescribeWorkflowExecution(s.t.Context(), id, "")
	var missing *serviceerror.NotFound
	if errors.As(err, &missing) {
		return "", false
	}
	s.must(err)
	info := described.GetWorkflowExecutionInfo()
	return info.GetExecution().GetRunId(), info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
}

// giveAll gives a control to workflows, and returns the runs that it ended.
func (s *system) giveAll(control string, ids []string) (ended map[string]string) {
	s.t.Helper()
	ended = map[string]string{}
	for _, id := range ids {
		ended[id], _ = s.runOf(id)
		s.must(s.give(control, id))
	}
	return ended
}

// awaitRunsAfter waits until each workflow has another run, which is open.
func (s *system) awaitRunsAfter(ended map[string]string) {
	s.t.Helper()
	s.await(func() error {
		for id, before := range ended {
			if run, open := s.runOf(id); run == before || !open {
				return fmt.Errorf("%s has the run %s, open: %t; before it had %s", id, run, open, before)
			}
		}
		return nil
	})
}

func (s *system) awaitClosed(ids ...string) {
	s.t.Helper()
	s.await(func() error {
		for _, id := range ids {
			if _, open := s.runOf(id); open {
				return fmt.Errorf("%s is still open", id)
			}
		}
		return nil
	})
}

// TestControlsOfTemporalLoseNothing cancels, terminates and resets each workflow without
// an end while records come, some through the queue: those of shards and Reconcile come
// back unaided, the others when they are started again, and each record is one document,
// and once in the backup. docs/controls.md says the same.
func TestControlsOfTemporalLoseNothing(t *testing.T) {
	t.Parallel()
	var aws *faultproxy.Proxy
	s := start(t, func(at *servers) {
		aws = proxyOf(t, at.aws)
		at.aws = aws.URL()
	})
	aws.Set(faultproxy.Rule{Name: "entries", Operation: "PutRecords", Share: 0.5, Fault: faultproxy.RejectEntries{Share: 0.3}})
	name := s.resources.Stream
	roots := []struct {
		id    string
		begin func(context.Context) error
	}{
		{workflows.ProcessStreamID(name), s.StartWorkflows},
		{workflows.KeepDeadLettersID(s.resources.DeadLetters), s.StartWorkflows},
		{workflows.RedriveID(s.resources.Queue), s.StartWorkflows},
		{workflows.BackupStreamID(name), s.StartBackup},
	}
	var rootIDs []string
	for _, root := range roots {
		rootIDs = append(rootIDs, root.id)
	}
	s.must(s.StartBackup(t.Context()))

	posted := 0
	post := func() {
		t.Helper()
		s.postEvents(posted)
		posted += some
	}
	unaided := func() (ids []string) {
		t.Helper()
		s.await(func() error { // a shard's first run may not have begun
			ids = slices.Concat(s.running("ProcessShard"), s.running("BackupShard"), s.running("Reconcile"))
			if len(ids) != 5 {
				return fmt.Errorf("%q run", ids)
			}
			return nil
		})
		return ids
	}
	for control := range controls {
		ids := unaided()
		post()
		ended := s.giveAll(control, ids)
		post()
		s.awaitRunsAfter(ended)
		s.awaitDocuments(posted)

		ended = s.giveAll(control, rootIDs)
		post()
		if control == "reset" {
			s.awaitRunsAfter(ended)
			s.awaitDocuments(posted)
			continue
		}
		s.awaitClosed(rootIDs...)
		shards := slices.Concat(s.running("ProcessShard"), s.running("BackupShard"))
		if want := map[string]int{"cancel": 0, "terminate": 4}[control]; len(shards) != want {
			t.Errorf("after %s of those that look after them, %q run, want %d", control, shards, want)
		}
		for _, root := range roots {
			s.must(root.begin(t.Context()))
		}
		s.awaitRunsAfter(ended)
		s.awaitDocuments(posted)
	}
	if times, _ := aws.Count("entries"); times == 0 {
		t.Error("no record went through the queue: the test proves less")
	}
	opened, err := stream.Open(t.Context(), kinesis.NewFromConfig(localtest.AWS(t)), name, stream.Settings{})
	s.must(err)
	s.awaitWholeBackup(opened)
	_, err = s.Starter(t.Context(), "backup", "stop")
	s.must(err)
}

// TestControlsOfBatchesLoseNothing cancels, terminates and resets the workflows of
// batches that neither stream nor queue takes, and of ranges in doubt: what is canceled
// goes to the ledger, all else is indexed in the end.
func TestControlsOfBatchesLoseNothing(t *testing.T) {
	t.Parallel()
	var aws, elasticsearch *faultproxy.Proxy
	s := start(t, func(at *servers) {
		aws, elasticsearch = proxyOf(t, at.aws), proxyOf(t, at.elasticsearch)
		at.aws, at.elasticsearch = aws.URL(), elasticsearch.URL()
		at.collector = []string{"MILLRACE_INGEST_START_TIMEOUT=1m"} // past Temporal, nothing takes a batch
	})
	dead, posted := map[string]string{}, 0
	// giveEach has each control given to a workflow of a type, of which every record that
	// is posted makes one.
	giveEach := func(workflowType string) {
		t.Helper()
		batches := map[string]string{}
		for control := range controls {
			id := workflowType + "-" + control
			s.post("/v1/telemetry", "application/x-ndjson",
				fmt.Appendf(nil, `{"id":%q,"type":"event","timestamp":%q}`, id, time.Now().UTC().Format(time.RFC3339)), http.StatusAccepted)
			posted++
			s.await(func() error {
				for _, open := range s.running(workflowType) {
					if !slices.Contains(slices.Collect(maps.Values(batches)), open) {
						batches[control] = open
						return nil
					}
				}
				return fmt.Errorf("%s has no workflow", id)
			})
		}
		for control, batch := range batches {
			run, _ := s.runOf(batch)
			switch err := s.give(control, batch); {
			case err != nil && control == "reset" && strings.Contains(err.Error(), "boundary"):
				// Its first task began with the workflow, which the server cannot undo.
			case err != nil:
				t.Error(err)
			case control == "cancel":
				dead[workflowType+"-cancel"] = "canceled"
				s.awaitClosed(batch)
			default: // Reconcile starts one again that was terminated
				s.awaitRunsAfter(map[string]string{batch: run})
			}
		}
	}
	aws.Set(
		faultproxy.Rule{Name: "stream", Operation: "PutRecords", Fault: faultproxy.Throttle()},
		faultproxy.Rule{Name: "queue", Operation: "SendMessageBatch", Fault: faultproxy.Throttle()},
	)
	giveEach("IngestBatch")
	aws.Set()
	s.awaitDocuments(posted - len(dead))
	elasticsearch.Set(faultproxy.Rule{Name: "undecided", Path: "/_bulk", Fault: faultproxy.RejectItems{Share: 1, Status: 400, Type: "mystery_exception"}})
	giveEach("ProcessBatch")
	elasticsearch.Set()
	s.awaitDocuments(posted - len(dead))
	s.await(func() error {
		if got := s.ledger(); !maps.Equal(got, dead) {
			return fmt.Errorf("the ledger holds %v, want %v", got, dead)
		}
		return nil
	})
}
