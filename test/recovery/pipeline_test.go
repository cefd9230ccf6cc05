// Package recovery takes indices away from a running pipeline and has them
// recovered, on the real servers.
package recovery

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/process"
	"millrace/activities/supervise"
	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/config"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/index"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/queue"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/poll"
	"millrace/workers"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// pipeline is one of a test's own: its stream, bucket, indices and namespace,
// and workers in the test's process.
type pipeline struct {
	t *testing.T
	*workers.Backends
	read      *stream.Stream // without pauses at its end, as the test reads it
	client    client.Client
	namespace string // of client
	launcher  launch.Launcher
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

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	return newPipelineAt(t, localtest.Elasticsearch(t))
}

// newPipelineAt has workers that go to Elasticsearch at another address.
func newPipelineAt(t *testing.T, address string) *pipeline {
	t.Helper()
	return newPipelineIn(t, address, "")
}

// newPipelineIn has a bucket of its own for the backup, if there is an ending for
// its name.
func newPipelineIn(t *testing.T, address, backups string) *pipeline {
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
	backends, err := workers.OpenBackends(ctx, cfg, names, stream.Settings{IdleWait: time.Second})
	must(nil, err)
	read, err := stream.Open(ctx, kinesis.NewFromConfig(cfg), name, stream.Settings{CallsPerSecond: -1, IdleWait: time.Millisecond})
	must(nil, err)
	url := localtest.Elasticsearch(t)
	documents, err := index.Open(index.Settings{URLs: []string{url}})
	must(nil, err)
	must(nil, documents.Setup(ctx, index.Layout{Shards: 1}))
	theirs, err := index.Open(index.Settings{URLs: []string{address}})
	must(nil, err)
	p := &pipeline{
		t: t, Backends: backends, read: read, documents: documents, url: url, http: localtest.Client(t), seen: dedup.New(100_000), delay: delay.New(),
		indices: telemetry.IndexPrefix + name[len(name)-8:] + "-", repo: name, chains: map[string]*backup.Chain{},
		sent: map[string]bool{}, bad: map[string]bool{},
	}
	must(documents.EnsureRepository(ctx, index.Repository{Name: name, Type: "fs", Settings: map[string]string{"location": name}}))
	options := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	p.client, p.namespace = localtest.TemporalClient(t, options), options.Namespace
	p.launcher = launch.Launcher{Client: p.client}
	t.Cleanup(func() {
		clean := context.WithoutCancel(ctx)
		_ = documents.DeleteSnapshot(clean, name, "snap")
		_ = documents.RemoveRepository(clean, name)
		for index := range p.states() {
			_ = documents.DeleteIndex(clean, index)
		}
		_, _ = kinesis.NewFromConfig(cfg).DeleteStream(clean, &kinesis.DeleteStreamInput{StreamName: &names.Stream})
	})
	limiter := limiter.New(0, 0)
	processor := process.New(process.Processor{
		Stream: p.StreamID(), Source: source.Stream{Stream: p.Stream},
		Indexer: indexing.New(indexing.Settings{Bulk: theirs, Lookup: theirs, Limiter: limiter, Seen: p.seen, Delay: p.delay, CompareRate: process.DefaultCompareRate}),
		Batches: p.launcher, DeadLetters: p.DeadLetters, Ledger: p.Ledger, Worker: "test",
	})
	supervisor := &supervise.Supervisor{Stream: p.StreamID(), Shards: p.Stream, Workflows: p.launcher}
	p.start(workers.Process(p.client, processor, supervisor))
	p.start(workers.Range(p.client, processor, 4))
	p.start(workers.Index(p.client, processor, 4))
	recoverer := p.Recoverer(theirs, limiter, p.launcher, p.repo, "test")
	recoverer.Patience, recoverer.Delivery = 3*time.Second, 3*time.Second
	p.start(workers.Recover(p.client, recoverer, p.Auditor(theirs, limiter, p.launcher, "test")))
	p.start(workers.Sweep(p.client, &recoverer.Sweeper, 4))
	if _, err := p.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflows.ProcessStreamID(name), TaskQueue: workflows.ProcessQueue},
		workflows.ProcessStream, workflows.StreamInput{Stream: name}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pipeline) start(one worker.Worker) {
	p.t.Helper()
	p.must(one.Start())
	p.t.Cleanup(one.Stop)
}

func (p *pipeline) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// record is one that a collector wrote; a bad one is refused by the mapping.
func (p *pipeline) record(id string, bad bool) []byte {
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
		Index: p.indices + days[day], ReceivedAt: now, Tenant: "tenant-" + day, Region: "r", ID: id, Type: "log", Timestamp: now,
	}, []byte(body))
}

// days are in the names of the two indices.
var days = map[string]string{"a": "2026.11.23", "b": "2026.11.24"}

// send puts records into the stream, the first of them bad.
func (p *pipeline) send(prefix string, good, bad int) {
	p.t.Helper()
	var records [][]byte
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range good + bad {
		id := fmt.Sprintf("%s-%d", prefix, n)
		records = append(records, p.record(id, n < bad))
		if n < bad {
			p.bad[id] = true
		} else {
			p.sent[id] = true
		}
	}
	for part := range slices.Chunk(records, 500) {
		if rejected := p.Stream.Put(p.t.Context(), part); len(rejected) > 0 {
			p.t.Fatalf("the stream refused %d records", len(rejected))
		}
	}
}

// patience is how long a test waits while nothing moves.
const patience = 5 * time.Minute

// await polls until a condition holds.
func (p *pipeline) await(what string, condition func() bool) {
	p.t.Helper()
	p.follow(what, func() (string, bool) { return "", condition() })
}

// follow polls until something is done, for as long as its state changes.
func (p *pipeline) follow(what string, look func() (state string, done bool)) {
	p.t.Helper()
	if err := poll.While(p.t.Context(), 100*time.Millisecond, patience, func() (string, bool, error) {
		state, done := look()
		return state, done, nil
	}); err != nil {
		p.t.Fatalf("%s did not happen in time: %v", what, err)
	}
}
