package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"millrace/internal/backoff"
	"millrace/internal/deadletter"
	"millrace/internal/index"
	"millrace/internal/indexing"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// indexShard runs one call outside of any workflow.
func indexShard(t *testing.T, p *Processor, in IndexInput, prepare ...func(*testsuite.TestActivityEnvironment)) IndexResult {
	t.Helper()
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterActivity(p.IndexShard)
	for _, f := range prepare {
		f(env)
	}
	in.Stream, in.Shard = p.Stream, "shard"
	encoded, err := env.ExecuteActivity(p.IndexShard, in)
	var result IndexResult
	if err == nil {
		err = encoded.Get(&result)
	}
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// calmBackends has records that all go well, unless a test says otherwise.
func calmBackends(count int) *backends {
	w := newBackends(1, 0)
	w.Calm = true
	for n := range count {
		w.Records = append(w.Records, stream.Record{Sequence: made.Sequence(n), Arrived: time.Unix(int64(n), 0), Data: made.Record(n)})
		parsed, _ := telemetry.Parse(made.Record(n))
		w.docs = append(w.docs, parsed.DocID)
	}
	return w
}

func TestIndexShardGoesOnFromItsHeartbeat(t *testing.T) {
	t.Parallel()
	w := calmBackends(300)
	heartbeat := Progress{Checkpoint: telemetry.Checkpoint{Sequence: made.Sequence(199)}, Counts: indexing.Counts{Records: 200, Indexed: 200}}
	got := indexShard(t, w.processor(), IndexInput{For: time.Minute, Checkpoint: telemetry.Checkpoint{Sequence: made.Sequence(99)}, Counts: indexing.Counts{Records: 100, Indexed: 100}},
		func(env *testsuite.TestActivityEnvironment) { env.SetHeartbeatDetails(heartbeat) })
	if !got.Checkpoint.Closed || got.Counts.Records != 300 || len(w.ids) != 100 {
		t.Errorf("%d records were indexed, the result is %+v", len(w.ids), got)
	}
}

func TestIndexShardEndsWellWhenItsWorkerStops(t *testing.T) {
	t.Parallel()
	w := calmBackends(300)
	w.Endless = true
	stopping := make(chan struct{})
	go func() {
		defer close(stopping)
		for w.indexed() < len(w.Records) && backoff.Wait(t.Context(), 10*time.Millisecond) {
		}
	}()
	got := indexShard(t, w.processor(), IndexInput{For: time.Hour},
		func(env *testsuite.TestActivityEnvironment) { env.SetWorkerStopChannel(stopping) })
	if got.Checkpoint.Sequence != made.Sequence(299) || got.Checkpoint.Closed {
		t.Errorf("the result is %+v", got)
	}
}

func TestIndexShardIndexesABatchAtTheLeast(t *testing.T) {
	t.Parallel()
	w := calmBackends(300)
	w.Endless = true
	if got := indexShard(t, w.processor(), IndexInput{For: 1}); got.Counts.Records == 0 {
		t.Errorf("the result is %+v", got)
	}
}

func TestIndexShardSaysThatItWaitsAndThatItNoLongerDoes(t *testing.T) {
	t.Parallel()
	w := calmBackends(300)
	w.Records[7].Data = []byte("foreign")
	w.ledgerDown = errors.New("the ledger is away, says 'a secret'")
	p := w.processor()
	p.Limits.WaitingAfter, p.Limits.DrainTimeout = 100*time.Millisecond, time.Second
	got := indexShard(t, p, IndexInput{For: time.Hour})
	if !got.Waiting || got.Checkpoint.Sequence != "" || !strings.Contains(got.LastError, deadletter.Writing) {
		t.Fatalf("with its ledger down the shard is at %+v", got)
	}
	// It goes on trying in the next call, which ends when it gets on.
	time.AfterFunc(500*time.Millisecond, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ledgerDown = nil
	})
	w.Endless = true
	got = indexShard(t, p, IndexInput{For: time.Hour, Waiting: true})
	if got.Waiting || got.Checkpoint.Sequence == "" || w.durable[made.Sequence(7)] != "ledger" {
		t.Errorf("with its ledger back the shard is at %+v", got)
	}
}

func TestIndexShardReportsWhatMayBeLost(t *testing.T) {
	t.Parallel()
	w := calmBackends(30)
	w.Loss = &stream.Loss{Before: made.Sequence(0)}
	got := indexShard(t, w.processor(), IndexInput{For: time.Minute})
	if got.Counts != (indexing.Counts{Records: 30, Indexed: 30, Losses: 1}) || !got.Checkpoint.Closed {
		t.Errorf("the result is %+v", got)
	}
	if len(w.lost) != 1 || w.lost[0].First != "" || w.lost[0].Last != made.Sequence(0) || w.lost[0].Shard != "shard" {
		t.Errorf("lost are %+v", w.lost)
	}
}

func TestIndexShardRefusesAnotherStream(t *testing.T) {
	t.Parallel()
	p := calmBackends(1).processor()
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.RegisterActivity(p.IndexShard)
	recreated := p.Stream
	recreated.Created = recreated.Created.Add(time.Hour)
	if _, err := env.ExecuteActivity(p.IndexShard, IndexInput{Stream: recreated, Shard: "shard", For: time.Hour}); err == nil {
		t.Error("it indexed a stream of the same name, created at another time")
	}
}

// elastic is an Elasticsearch at the wire, which a test makes ill.
type elastic struct {
	mu       sync.Mutex
	ids      map[string]bool
	requests int
	answer   func(request, bytes int) (status int, hang bool)
	largest  int // body that was taken
}

func (e *elastic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e.mu.Lock()
	e.requests++
	status, hang := e.answer(e.requests, len(body))
	e.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return
	}
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	if status != http.StatusOK {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"type":"made_up","reason":"a test"},"status":%d}`, status)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.largest = max(e.largest, len(body))
	var items []string
	for n, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
		if n%2 > 0 {
			continue
		}
		var action struct {
			Create struct {
				ID string `json:"_id"`
			}
		}
		if json.Unmarshal([]byte(line), &action) != nil {
			panic("not an action: " + line)
		}
		status := http.StatusCreated
		if e.ids[action.Create.ID] {
			panic(action.Create.ID + " came twice")
		}
		e.ids[action.Create.ID] = true
		items = append(items, fmt.Sprintf(`{"create":{"status":%d}}`, status))
	}
	fmt.Fprintf(w, `{"errors":false,"items":[%s]}`, strings.Join(items, ","))
}

// TestIndexShardGetsThroughAtTheWire indexes a shard by an Elasticsearch that
// first does not want to; each record is indexed in the end, and none is
// dead-lettered or handed over for that.
func TestIndexShardGetsThroughAtTheWire(t *testing.T) {
	t.Parallel()
	const largest = 4000 // bytes
	for name, c := range map[string]struct {
		answer  func(request, bytes int) (int, bool)
		records int
	}{
		"429 ten times":    {func(request, _ int) (int, bool) { return map[bool]int{true: 429, false: 200}[request <= 10], false }, 500},
		"503 and 403":      {func(request, _ int) (int, bool) { return []int{503, 403, 200}[min(request-1, 2)], false }, 500},
		"no answer once":   {func(request, _ int) (int, bool) { return 200, request == 1 }, 500},
		"413 above a size": {func(_, bytes int) (int, bool) { return map[bool]int{true: 413, false: 200}[bytes > largest], false }, 500},
		"429 above a size": {func(_, bytes int) (int, bool) {
			return map[bool]int{true: 429, false: 200}[bytes > 2*indexing.LeastSplit], false
		}, 2000},
		"hangs above a size": {func(_, bytes int) (int, bool) { return 200, bytes > 2*indexing.LeastSplit }, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &elastic{ids: map[string]bool{}, answer: c.answer}
			server := httptest.NewServer(e)
			t.Cleanup(server.Close)
			client, err := index.Open(index.Settings{URLs: []string{server.URL}, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			w := calmBackends(c.records)
			p := w.processor()
			p.Indexer.Bulk, p.Limits.BulkRecords, p.Limits.WaitingAfter = client, 2000, time.Hour
			got := indexShard(t, p, IndexInput{For: time.Minute})
			if !got.Checkpoint.Closed || got.Counts != (indexing.Counts{Records: int64(c.records), Indexed: int64(c.records)}) || len(e.ids) != c.records {
				t.Errorf("%d are indexed, the result is %+v", len(e.ids), got)
			}
		})
	}
}
