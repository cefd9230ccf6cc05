package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/api/workflowservice/v1"

	"millrace/deploy/local/localtest"
	"millrace/internal/stream"
)

// TestWorkerReadsRecreatedStream: the worker reads the new stream from
// its beginning, although its shard has the id of one that it had read, and the
// workflow of the earlier one ends.
func TestWorkerReadsRecreatedStream(t *testing.T) {
	t.Parallel()
	s := start(t, func(at *servers) { at.shards = 1 })
	post := func(from, to int) {
		t.Helper()
		var records []string
		for n := from; n < to; n++ {
			records = append(records, fmt.Sprintf(`{"id":"r%d","type":"log","timestamp":%q}`, n, time.Now().UTC().Format(time.RFC3339)))
		}
		s.post("/v1/telemetry", "application/json", []byte("["+strings.Join(records, ",")+"]"), 202)
	}
	post(0, 20)
	s.awaitDocuments(20)
	client := kinesis.NewFromConfig(localtest.AWS(t))
	before, err := stream.Open(t.Context(), client, s.resources.Stream, stream.Settings{})
	s.must(err)
	_, err = client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: &s.resources.Stream})
	s.must(err)
	s.await(func() error { // names of workflows have the second in which a stream was made
		if time.Now().Unix() == before.Created().Unix() {
			return errors.New("it is still the second in which the stream was made")
		}
		return nil
	})
	s.await(func() error {
		created, err := stream.Create(t.Context(), client, s.resources.Stream, 1, 24*time.Hour)
		if err == nil && !created {
			err = errors.New("it is being deleted")
		}
		return err
	})
	post(20, 50)
	s.awaitDocuments(50)
	s.await(func() error {
		ended, err := s.operator.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
			Query: "WorkflowType='ProcessShard' AND ExecutionStatus='Failed'",
		})
		if err == nil && ended.GetCount() != 1 {
			err = fmt.Errorf("%d workflows of the earlier stream's shard have ended", ended.GetCount())
		}
		return err
	})
}
