// Package recovery takes indices away from a running pipeline and has them
// recovered, on the real servers.
package recovery

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"

	"millrace/activities/process"
	"millrace/activities/recovery"
	"millrace/activities/supervise"
	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/config"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/index"
	"millrace/internal/indexing"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/queue"
	"millrace/internal/snapshot"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/poll"
	"millrace/workers"
	"millrace/workflows"
)

// world is a pipeline of a test's own: stream, bucket, indices and namespace.
type world struct {
	t *testing.T
	*workers.Backends
	client    client.Client
	launcher  workflows.Launcher
	documents *index.Client
	seen      *dedup.Cache
	delay     *delay.Histogram
	indices   string // what the names of its indices begin with
	url       string // of Elasticsearch, as the test goes there
	http      *http.Client
	repo      string
	chains    map[string]*backup.Chain

	mu   sync.Mutex
	sent map[string]bool // ids of good records
	bad  map[string]bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldAt(t, localtest.Elasticsearch(t))
}

// newWorldAt has workers that go to Elasticsearch at another address.
func newWorldAt(t *testing.T, address string) *world {
	t.Helper()
	return newWorldIn(t, address, "")
}

// newWorldIn has a bucket of its own for the backup, if there is an ending for
// its name.
func newWorldIn(t *testing.T, address, backups string) *world {
	t.Helper()
	cfg, name := localtest.AWS(t), localtest.Name(t, "rec")
	ctx := t.Context()
	names := config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(stream.Create(ctx, kinesis.NewFromConfig(cfg), name, 2, 24*time.Hour))
	for _, q := range []string{names.Queue, names.DeadLetters} {
		must(nil, queue.Create(ctx, sqs.NewFromConfig(cfg), q))
	}
	if backups != "" {
		names.Backups = name + backups
	}
	for _, bucket := range []string{names.Bucket, names.BackupBucket()} {
		must(archive.Create(ctx, s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), bucket))
	}
	backends, err := workers.OpenBackends(ctx, cfg, names, stream.Settings{})
	must(nil, err)
	url := localtest.Elasticsearch(t)
	documents, err := index.Open(index.Settings{URLs: []string{url}})
	must(nil, err)
	must(nil, documents.Setup(ctx, index.Layout{Shards: 1}))
	theirs, err := index.Open(index.Settings{URLs: []string{address}})
	must(nil, err)
	w := &world{
		t: t, Backends: backends, documents: documents, url: url, http: localtest.Client(t), seen: dedup.New(100_000), delay: delay.New(),
		indices: telemetry.IndexPrefix + name[len(name)-8:] + "-", repo: name, chains: map[string]*backup.Chain{},
		sent: map[string]bool{}, bad: map[string]bool{},
	}
	must(documents.EnsureRepository(ctx, index.Repository{Name: name, Type: "fs", Settings: map[string]string{"location": name}}))
	w.client = localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
	w.launcher = workflows.Launcher{Client: w.client}
	t.Cleanup(func() {
		clean := context.WithoutCancel(ctx)
		_ = documents.DeleteSnapshot(clean, name, "snap")
		_ = documents.RemoveRepository(clean, name)
		for index := range w.states() {
			_ = documents.DeleteIndex(clean, index)
		}
		_, _ = kinesis.NewFromConfig(cfg).DeleteStream(clean, &kinesis.DeleteStreamInput{StreamName: &names.Stream})
	})
	limiter := limiter.New(0, 0)
	processor := process.New(process.Processor{
		Stream: w.StreamID(), Source: source.Stream{Stream: w.Stream},
		Indexer: indexing.New(indexing.Settings{Bulk: theirs, Lookup: theirs, Limiter: limiter, Seen: w.seen, Delay: w.delay, CompareRate: process.DefaultCompareRate}),
		Batches: w.launcher, DeadLetters: w.DeadLetters, Ledger: w.Ledger, Worker: "test",
	})
	supervisor := &supervise.Supervisor{Stream: w.StreamID(), Shards: w.Stream, Workflows: w.launcher}
	w.start(workers.Process(w.client, processor, supervisor))
	w.start(workers.Range(w.client, processor, 4))
	w.start(workers.Index(w.client, processor, 4))
	recoverer := w.Recoverer(theirs, limiter, w.launcher, w.repo, "test")
	recoverer.Patience, recoverer.Delivery = 3*time.Second, 3*time.Second
	w.start(workers.Recover(w.client, recoverer))
	w.start(workers.Sweep(w.client, &recoverer.Sweeper, 4))
	if _, err := w.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflows.ProcessStreamID(name), TaskQueue: workflows.ProcessQueue},
		workflows.ProcessStream, workflows.StreamInput{Stream: name}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) start(one worker.Worker) {
	w.t.Helper()
	w.must(one.Start())
	w.t.Cleanup(one.Stop)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// record is one that a collector wrote; a bad one is refused by the mapping.
func (w *world) record(id string, bad bool) []byte {
	now := time.Now().UTC()
	body := `{"duration":12,"message":"` + strings.Repeat("x", 100) + `"}`
	if bad {
		body = `{"duration":"no number"}`
	}
	day := "a"
	if id[len(id)-1]%2 == 0 {
		day = "b"
	}
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: w.indices + days[day], ReceivedAt: now, Tenant: "tenant-" + day, Region: "r", ID: id, Type: "log", Timestamp: now,
	}, []byte(body))
}

// days are in the names of the two indices.
var days = map[string]string{"a": "2026.11.23", "b": "2026.11.24"}

// send puts records into the stream, the first of them bad.
func (w *world) send(prefix string, good, bad int) {
	w.t.Helper()
	var records [][]byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range good + bad {
		id := fmt.Sprintf("%s-%d", prefix, n)
		records = append(records, w.record(id, n < bad))
		if n < bad {
			w.bad[id] = true
		} else {
			w.sent[id] = true
		}
	}
	for part := range slices.Chunk(records, 500) {
		if rejected := w.Stream.Put(w.t.Context(), part); len(rejected) > 0 {
			w.t.Fatalf("the stream refused %d records", len(rejected))
		}
	}
}

// patience is how long a test waits while nothing moves.
const patience = 5 * time.Minute

// await polls until a condition holds.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	w.follow(what, func() (string, bool) { return "", condition() })
}

// follow polls until something is done, for as long as its state changes.
func (w *world) follow(what string, look func() (state string, done bool)) {
	w.t.Helper()
	if err := poll.While(w.t.Context(), 100*time.Millisecond, patience, func() (string, bool, error) {
		state, done := look()
		return state, done, nil
	}); err != nil {
		w.t.Fatalf("%s did not happen in time: %v", what, err)
	}
}

func (w *world) states() map[string]index.State {
	states, err := w.documents.Indices(context.WithoutCancel(w.t.Context()), w.indices+"*")
	if err != nil {
		w.t.Fatal(err)
	}
	return states
}

// ids are those in the indices that end so, each with how often it is there.
func (w *world) ids(suffix string) map[string]int {
	w.t.Helper()
	w.must(w.documents.Refresh(w.t.Context(), w.indices+"*"))
	found := map[string]int{}
	for name := range w.states() {
		if strings.HasSuffix(name, suffix) && (suffix != "" || strings.Count(name, "-") == 2) {
			w.scan(name, found)
		}
	}
	return found
}

// scan reads the ids of an index.
func (w *world) scan(name string, found map[string]int) {
	after := ""
	for {
		body := `{"size":5000,"_source":["id"],"sort":["id"],"query":{"match_all":{}}` + after + `}`
		request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/"+name+"/_search", strings.NewReader(body))
		w.must(err)
		request.Header.Set("Content-Type", "application/json")
		response, err := w.http.Do(request)
		w.must(err)
		text, err := io.ReadAll(response.Body)
		w.must(err)
		response.Body.Close()
		if response.StatusCode == http.StatusServiceUnavailable { // the index is just being made
			<-time.After(100 * time.Millisecond)
			continue
		}
		var answer struct {
			Hits struct {
				Hits []struct {
					Source struct{ ID string } `json:"_source"`
				}
			}
		}
		if err := json.Unmarshal(text, &answer); err != nil || response.StatusCode != http.StatusOK {
			w.t.Fatalf("search %s: %s: %s", name, response.Status, text)
		}
		if len(answer.Hits.Hits) == 0 {
			return
		}
		for _, hit := range answer.Hits.Hits {
			found[hit.Source.ID]++
			after = fmt.Sprintf(`,"search_after":[%q]`, hit.Source.ID)
		}
	}
}

// ask speaks with Elasticsearch past our client.
func (w *world) ask(method, path, body string, into any) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	w.must(err)
	request.Header.Set("Content-Type", "application/json")
	response, err := w.http.Do(request)
	w.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	w.must(err)
	if response.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s: %s: %s", method, path, response.Status, text)
	}
	w.must(json.Unmarshal(text, into))
}

// indexed waits until each good record is there.
func (w *world) indexed() {
	w.t.Helper()
	w.follow("the records to be indexed", func() (string, bool) {
		n := len(w.ids(""))
		return fmt.Sprintf("%d of %d", n, len(w.sent)), n >= len(w.sent)
	})
}

// passed waits until the checkpoints have passed what was sent, by the word of
// the shards: what a snapshot's window begins with.
func (w *world) passed() {
	w.t.Helper()
	sent := time.Now()
	shards, err := w.Stream.Shards(w.t.Context())
	w.must(err)
	for _, shard := range shards {
		w.await("the checkpoint of "+shard.ID, func() bool {
			at, known, err := w.launcher.Reached(w.t.Context(), w.StreamID(), shard.ID)
			w.must(err)
			return known && !at.ReadUpTo.Before(sent)
		})
	}
}

// complete asserts that each good record is there once, and each bad one in the
// ledger.
func (w *world) complete() {
	w.t.Helper()
	found := w.ids("")
	lost := 0
	for id := range w.sent {
		if found[id] != 1 {
			if lost++; lost < 5 {
				w.t.Errorf("%s is there %d times", id, found[id])
			}
		}
	}
	if lost > 0 {
		w.t.Errorf("%d of %d records are not there once", lost, len(w.sent))
	}
	dead := w.dead()
	for id := range w.bad {
		if dead[id] != 1 {
			w.t.Errorf("%s is in the ledger %d times", id, dead[id])
		}
	}
}

// dead are the ids in the open ledger.
func (w *world) dead() map[string]int {
	found := map[string]int{}
	for key, err := range w.Ledger.List(w.t.Context(), ledger.Filter{}) {
		w.must(err)
		entry, err := w.Ledger.Get(w.t.Context(), key)
		w.must(err)
		for _, r := range entry.Records {
			found[r.ID]++
		}
	}
	return found
}

// stored are the records of the stream, those of one shard behind those of another.
func (w *world) stored() (records []stream.Record) {
	w.t.Helper()
	shards, err := w.Stream.Shards(w.t.Context())
	w.must(err)
	for _, shard := range shards {
		records = append(records, w.storedIn(shard.ID)...)
	}
	return records
}

// storedIn are the records of a shard.
func (w *world) storedIn(shard string) (records []stream.Record) {
	w.t.Helper()
	reader := w.Stream.Reader(shard, telemetry.Checkpoint{})
	defer reader.Close()
	for empty := 0; empty < 3; {
		page, err := reader.Next(w.t.Context())
		w.must(err)
		if len(page.Records) == 0 {
			empty++
		}
		for _, r := range page.Records {
			r.Data = bytes.Clone(r.Data)
			records = append(records, r)
		}
	}
	return records
}

// backUp writes what is in the stream into the backup.
func (w *world) backUp() {
	w.t.Helper()
	shards, err := w.Stream.Shards(w.t.Context())
	w.must(err)
	store := w.Backups.Under(backup.Prefix)
	for _, shard := range shards {
		chain := w.chains[shard.ID]
		if chain == nil {
			chain = backup.Open(store, backup.Shard{Stream: w.Stream.Name(), Created: w.Stream.Created(), ID: shard.ID}, "")
			w.chains[shard.ID] = chain
		}
		reader := w.Stream.Reader(shard.ID, telemetry.Checkpoint{Sequence: chain.Last()})
		for empty := 0; empty < 3; {
			page, err := reader.Next(w.t.Context())
			w.must(err)
			if len(page.Records) == 0 {
				empty++
			}
			for _, r := range page.Records {
				record := backup.Record{Sequence: r.Sequence, Arrived: r.Arrived, Data: r.Data}
				if !chain.Fits(record) || chain.Held().Count >= 300 {
					_, err := chain.Flush(w.t.Context())
					w.must(err)
				}
				w.must(chain.Add(record))
			}
		}
		_, err := chain.Flush(w.t.Context())
		w.must(err)
		reader.Close()
	}
}

// snapshot takes one, with its record.
func (w *world) snapshot() {
	w.t.Helper()
	ctx := w.t.Context()
	record := snapshot.Record{Name: "snap", Repository: w.repo, Started: time.Now().UTC(), State: snapshot.Success, Indices: map[string]snapshot.Index{}}
	shards, err := w.Stream.Shards(ctx)
	w.must(err)
	for _, shard := range shards {
		at, _, err := w.launcher.Reached(ctx, w.StreamID(), shard.ID)
		w.must(err)
		record.Shards = append(record.Shards, snapshot.Shard{
			Stream: w.Stream.Name(), StreamARN: w.Stream.ARN(), Created: w.Stream.Created(), Shard: shard.ID, Checkpoint: at,
		})
	}
	w.must(w.documents.Refresh(ctx, w.indices+"*"))
	for name, state := range w.states() {
		record.Indices[name] = snapshot.Index{Documents: state.Documents, Created: state.Created}
	}
	w.must(w.documents.StartSnapshot(ctx, w.repo, "snap", slices.Collect(maps.Keys(record.Indices)), nil))
	w.await("the snapshot", func() bool {
		taken, err := w.documents.GetSnapshot(ctx, w.repo, "snap")
		w.must(err)
		return taken.State == snapshot.Success
	})
	w.must(snapshot.Open(w.Bucket, w.repo).Put(ctx, record))
}

// disaster deletes all indices.
func (w *world) disaster() {
	w.t.Helper()
	for name := range w.states() {
		w.must(w.documents.DeleteIndex(w.t.Context(), name))
	}
}

// begin starts a recovery of the world's own indices.
func (w *world) begin(in workflows.RecoverInput) client.WorkflowRun {
	w.t.Helper()
	if in.Indices == nil {
		in.Indices = []string{w.indices + "*"}
	}
	if in.CallFor == 0 {
		in.CallFor = 2 * time.Second
	}
	run, err := w.client.ExecuteWorkflow(w.t.Context(), client.StartWorkflowOptions{
		ID: workflows.RecoverID, TaskQueue: workflows.RecoverQueue, WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflows.Recover, in)
	w.must(err)
	return run
}

// replay starts a replay.
func (w *world) replay(name string, in workflows.RecoverInput) client.WorkflowRun {
	w.t.Helper()
	run, err := w.client.ExecuteWorkflow(w.t.Context(), client.StartWorkflowOptions{ID: workflows.ReplayID(name), TaskQueue: workflows.RecoverQueue}, workflows.Replay, in)
	w.must(err)
	return run
}

var record = flag.String("record", "", "record the histories of the runs under this name, for the tests of package workflows")

// stackTrace is the member of a failure that names files of this machine.
var stackTrace = regexp.MustCompile(`"stackTrace": *"(?:[^"\\]|\\.)*"`)

// keep records the history of a run for workflows.TestHistoriesReplay.
func (w *world) keep(run client.WorkflowRun, name string) {
	w.t.Helper()
	if *record == "" {
		return
	}
	var all history.History
	for events := w.client.GetWorkflowHistory(w.t.Context(), run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		w.must(err)
		all.Events = append(all.Events, event)
	}
	text, err := protojson.MarshalOptions{Indent: " "}.Marshal(&all)
	w.must(err)
	text = stackTrace.ReplaceAll(text, []byte(`"stackTrace": ""`))
	w.must(os.WriteFile(filepath.Join("..", "..", "workflows", "testdata", "history", name+"_"+*record+".json"), text, 0o644))
}

func (w *world) result(run client.WorkflowRun) recovery.RecoverResult {
	w.t.Helper()
	var result recovery.RecoverResult
	ended := make(chan error, 1)
	go func() { ended <- run.Get(w.t.Context(), &result) }()
	var progress workflows.RecoverProgress
	said := time.Now()
	if err := poll.While(w.t.Context(), time.Second/2, patience, func() (string, bool, error) {
		select {
		case err := <-ended:
			return "", true, err
		default:
		}
		if now, err := w.launcher.RecoverProgress(w.t.Context(), run.GetID()); err == nil {
			progress = now
		}
		state := fmt.Sprintf("%s %s: %d objects, %d records; %+v", progress.Stage, progress.State, progress.ObjectsDone, progress.RecordsDone, progress.Restore)
		if time.Since(said) > time.Minute { // who watches learns that it moves
			said = time.Now()
			w.t.Log(state)
		}
		return state, false, nil
	}); err != nil {
		w.t.Fatalf("the recovery ended with %v, its progress is %+v", err, progress)
	}
	return result
}
