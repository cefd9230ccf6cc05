package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"go.temporal.io/api/enums/v1"

	"millrace/test/kit/faultproxy"
)

// Of a load that is bisected: too few records for the circuit to open, though
// all are refused at first, and more than are bisected within one activity.
const (
	bisectedRecords = 96
	poisonEvery     = 16
	poisonRecords   = bisectedRecords / poisonEvery
)

// bisecting is a pipeline whose Elasticsearch refuses requests as a whole: at
// first all of them, so that IndexShard cannot narrow anything down, and then
// those that poison is in.
type bisecting struct {
	*system
	aws, elasticsearch *faultproxy.Proxy
}

var refused = faultproxy.Rule{Name: "refused", Path: "/_bulk", Holds: "poison-", Fault: faultproxy.Answer{
	Status: http.StatusBadRequest, Body: `{"error":"by the fault proxy"}`,
}}

const (
	// forLong is longer than any worker of the test lives.
	forLong = time.Hour
	// patience is for a busy machine.
	patience = 3 * time.Minute
)

// patientEnv is of workers that wait for as long as a bulk is held back, and
// whose shard does not begin anew because it could not be read.
var patientEnv = []string{"MILLRACE_BULK_TIMEOUT=1h", "MILLRACE_WAITING_AFTER=1h"}

// send sends records of which some are poison, and returns what is to become of
// those.
func (b *bisecting) send() (dead map[string]string) {
	b.t.Helper()
	dead = map[string]string{}
	var body bytes.Buffer
	for n := range bisectedRecords {
		id := fmt.Sprint("neighbour-", n)
		if n%poisonEvery == poisonEvery/2 {
			id = fmt.Sprint("poison-", n)
			dead[id] = "canceled"
		}
		fmt.Fprintf(&body, `{"id":%q,"type":"event","timestamp":%q}`+"\n", id, time.Now().UTC().Format(time.RFC3339))
	}
	b.post("/v1/telemetry", "application/x-ndjson", body.Bytes(), http.StatusAccepted)
	return dead
}

// awaitAttempt waits until a worker is in an activity of the batch.
func (b *bisecting) awaitAttempt(batch, activity string) {
	b.t.Helper()
	b.await(func() error {
		described, err := b.operator.DescribeWorkflowExecution(b.t.Context(), batch, "")
		if err != nil {
			return err
		}
		for _, pending := range described.GetPendingActivities() {
			if pending.GetActivityType().GetName() == activity && pending.GetState() == enums.PENDING_ACTIVITY_STATE_STARTED {
				return nil
			}
		}
		return fmt.Errorf("no worker is in %s of %s", activity, batch)
	})
}

// awaitHolding waits until the proxy holds a call back, or an answer: then the
// server has done its work, and the caller does not know.
func (b *bisecting) awaitHolding(holding *atomic.Int64) {
	b.t.Helper()
	b.await(func() error {
		if holding.Load() == 0 {
			return errors.New("nothing is held back")
		}
		return nil
	})
}
