package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"millrace/test/kit/faultproxy"
)

// held is a pipeline whose batches hold records for long: they are copied to
// the ledger when they are three seconds old.
type held struct {
	*system
	kinesis, elasticsearch *faultproxy.Proxy
	batches                []string
}

const (
	heldRecords = 20 // too few for a circuit
	copyAfter   = "MILLRACE_COPY_AFTER=3s"
)

func newHeld(t *testing.T) *held {
	t.Helper()
	h := &held{}
	h.system = start(t, func(at *servers) {
		h.kinesis, h.elasticsearch = proxyOf(t, at.aws), proxyOf(t, at.elasticsearch)
		at.kinesis, at.elasticsearch = h.kinesis.URL(), h.elasticsearch.URL()
		at.collector = []string{"MILLRACE_INGEST_START_TIMEOUT=1m"} // what goes both ways has two batches
	}, copyAfter)
	h.elasticsearch.Set(faultproxy.Rule{Name: "undecided", Path: "/_bulk", Fault: faultproxy.RejectItems{Share: 1, Status: 400, Type: "mystery_exception"}})
	var body bytes.Buffer
	for n := range heldRecords {
		fmt.Fprintf(&body, `{"id":"held-%d","type":"event","timestamp":%q}`+"\n", n, time.Now().UTC().Format(time.RFC3339))
	}
	h.post("/v1/telemetry", "application/x-ndjson", body.Bytes(), http.StatusAccepted)
	h.awaitCopies(heldRecords)
	h.batches = h.running("ProcessBatch")
	return h
}

// running are the workflows of a type that run.
func (s *system) running(workflowType string) (ids []string) {
	s.t.Helper()
	page, err := s.operator.ListWorkflow(s.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Query: "WorkflowType = '" + workflowType + "' AND ExecutionStatus = 'Running'",
	})
	s.must(err)
	for _, info := range page.GetExecutions() {
		ids = append(ids, info.GetExecution().GetWorkflowId())
	}
	return ids
}

// group is what `starter dlq list` says of records that have the same error.
type group struct {
	Records int
	Error   string
	Held    bool
	HeldBy  []string
	Keys    []string
}

func (s *system) groups() (groups []group) {
	s.t.Helper()
	said, err := s.Starter(s.t.Context(), "dlq", "list", "--json")
	s.must(err)
	s.must(json.Unmarshal([]byte(said), &groups))
	return groups
}

// awaitCopies waits until the ledger has so many records that are held.
func (h *held) awaitCopies(records int) {
	h.t.Helper()
	h.await(func() error {
		if groups := h.groups(); len(groups) != 1 || !groups[0].Held || groups[0].Records != records {
			return fmt.Errorf("the ledger has %+v, want %d records that are held", groups, records)
		}
		return nil
	})
}

// trim has the stream forget the records.
func (h *held) trim() {
	h.kinesis.Set(faultproxy.Rule{
		Name: "trimmed", Operation: "GetShardIterator", Fault: faultproxy.AWSError(http.StatusBadRequest, "ResourceNotFoundException"),
	})
}

// mend lets Elasticsearch take everything.
func (h *held) mend() { h.elasticsearch.Set() }
