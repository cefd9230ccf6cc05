// Package e2e runs the programs that users deploy, with the agents that users
// have, against real servers, and asks the stores what became of everything.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/client"

	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/test/kit/agents"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

var programFolder string

func TestMain(m *testing.M) {
	status := func() int {
		dir, err := os.MkdirTemp("", "millrace-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		programFolder = dir
		status := m.Run()
		_ = os.RemoveAll(dir) // the system's folder for what may go
		return status
	}()
	os.Exit(status)
}

// programs are built once.
var programs = sync.OnceValues(func() (pipeline.Programs, error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return pipeline.Programs{}, err
	}
	return pipeline.Build(context.Background(), root, programFolder, buildFlags...)
})

// installed are the agents.
var installed = sync.OnceValues(func() (*agents.Agents, error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return nil, err
	}
	return agents.Install(context.Background(), root, nil)
})

// world is a pipeline of a test's own, with its own namespace, stream, queues,
// bucket and tenant.
type world struct {
	*pipeline.Pipeline
	t         testing.TB
	resources config.Resources
	tenant    string
	key       string
	stores    audit.Stores
	http      *http.Client
	temporal  client.Options
	operator  client.Client // as an operator's tools have it

	collector, worker *pipeline.Program
}

// workerEnv keeps a worker small, since the memory of its cache is taken at
// once, and the objects of its backup, so that there are many.
var workerEnv = []string{"MILLRACE_DEDUP_IDS=100000", "MILLRACE_BACKUP_BYTES=60000", "MILLRACE_BACKUP_WITHIN=2s"}

// servers are the addresses that a test may put a proxy before, how many shards
// the stream has, the version of the programs, if they have one, and whether
// batches are to go directly into the stream.
type servers struct {
	aws, kinesis, elasticsearch string
	shards                      int
	version                     string
	direct                      bool
	collector                   []string // more of its environment
}

// pageOrigin is of pages that may post.
const pageOrigin = "https://shop.example"

// proxyOf puts a fault proxy before a server.
func proxyOf(t testing.TB, url string) *faultproxy.Proxy {
	t.Helper()
	proxy, err := faultproxy.Start(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	return proxy
}

// start brings a pipeline up. through may change the way to the servers; workers
// are set up with what more says, too.
func start(t testing.TB, through func(*servers), more ...string) *world {
	t.Helper()
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	name := localtest.Name(t, "e2e")
	temporal := localtest.TemporalNamespace(t)
	cfg := localtest.AWS(t)
	w := &world{
		t: t, tenant: name, temporal: temporal, http: localtest.Client(t), operator: localtest.TemporalClient(t, temporal),
		resources: config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name},
		stores: audit.Stores{
			Elasticsearch: localtest.Elasticsearch(t), Tenant: name, Bucket: name,
			S3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		},
	}
	at := servers{aws: *cfg.BaseEndpoint, elasticsearch: w.stores.Elasticsearch, shards: 2}
	if through != nil {
		through(&at)
	}
	environment := []string{
		"AWS_ENDPOINT_URL=" + at.aws, "AWS_REGION=" + local.Region, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
		"TEMPORAL_ADDRESS=" + temporal.HostPort, "TEMPORAL_NAMESPACE=" + temporal.Namespace,
		local.EnvElasticsearch + "=" + at.elasticsearch,
	}
	if at.kinesis != "" {
		environment = append(environment, "AWS_ENDPOINT_URL_KINESIS="+at.kinesis)
	}
	w.Pipeline = pipeline.New(pipeline.Settings{Programs: built, Servers: environment, Resources: w.resources, Shards: at.shards, Dir: t.TempDir()})
	w.must(w.Setup(t.Context()))
	w.key, err = w.CreateKey(t.Context(), w.tenant)
	w.must(err)
	t.Cleanup(w.end)
	version := "MILLRACE_BUILD_ID=" + at.version
	mode := map[bool]string{false: "INGEST=temporal", true: "INGEST=direct"}[at.direct]
	w.collector, err = w.StartCollector(t.Context(), append(at.collector, version, mode, "MILLRACE_INDEX_DAYS_BACK=60", "MILLRACE_CORS_ORIGINS="+pageOrigin)...)
	w.must(err)
	w.worker, err = w.StartWorker(t.Context(), append(append(slices.Clone(workerEnv), version), more...)...)
	w.must(err)
	w.must(w.StartWorkflows(t.Context()))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// end stops what runs, shows the logs of a test that failed, and deletes what
// the servers would keep in memory.
func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, what := range []string{"process", "redrive"} {
		if _, err := w.Starter(ctx, what, "stop"); err != nil {
			w.t.Log(err)
		}
	}
	ran := w.Running()
	if err := w.Stop(); err != nil {
		w.t.Error(err)
	}
	if w.t.Failed() {
		for _, program := range ran {
			w.showLog(program.Log)
		}
	}
	cfg := localtest.AWS(w.t)
	_, _ = kinesis.NewFromConfig(cfg).DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &w.resources.Stream})
	queues := sqs.NewFromConfig(cfg)
	for _, name := range []string{w.resources.Queue, w.resources.DeadLetters} {
		if found, err := queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name}); err == nil {
			_, _ = queues.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: found.QueueUrl})
		}
	}
}

func (w *world) showLog(path string) {
	const most = 16 << 10
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Log(err)
		return
	}
	w.t.Logf("the end of %s:\n%s", path, text[max(0, len(text)-most):])
}

// poll is how often the stores are asked.
const poll = 250 * time.Millisecond

// await polls until a condition returns nil, for as long as the error that it
// returns instead changes: it says how far things are.
func (w *world) await(condition func() error) {
	w.t.Helper()
	last, moved := "", time.Now()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		if said := err.Error(); said != last {
			last, moved = said, time.Now()
		}
		if time.Since(moved) > patience {
			w.t.Fatalf("nothing has moved for %v: %v", patience, err)
		}
		<-tick.C
	}
}

// awaitDocuments waits until the tenant has so many documents, and returns
// them.
func (w *world) awaitDocuments(n int) []document {
	w.t.Helper()
	w.await(func() error {
		indexed, err := w.stores.Indexed(w.t.Context())
		if err == nil && indexed < uint64(n) {
			err = fmt.Errorf("%d documents, want %d", indexed, n)
		}
		return err
	})
	found := w.search(fmt.Sprintf(`{"size":10000,"query":{"term":{"tenant":%q}}}`, w.tenant))
	if len(found) != n {
		w.t.Errorf("%d documents, want %d", len(found), n)
	}
	return found
}

// document is one of Elasticsearch's.
type document struct {
	ID     string         `json:"_id"`
	Index  string         `json:"_index"`
	Source map[string]any `json:"_source"`
}

// get returns a member, whose name may be a path.
func (d document) get(path string) any {
	var value any = d.Source
	for name := range strings.SplitSeq(path, "/") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

// number returns a member that is one, else NaN.
func (d document) number(path string) float64 {
	if n, ok := d.get(path).(float64); ok {
		return n
	}
	return math.NaN()
}

func (w *world) search(query string) []document {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.stores.Elasticsearch+"/telemetry-*/_search", strings.NewReader(query))
	w.must(err)
	request.Header.Set("Content-Type", "application/json")
	var answer struct{ Hits struct{ Hits []document } }
	w.must(json.Unmarshal(w.do(request, http.StatusOK), &answer))
	return answer.Hits.Hits
}

// post posts to the collector with the tenant's key, and returns the answer.
// more are names and values of header fields.
func (w *world) post(path, contentType string, body []byte, want int, more ...string) []byte {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.collector.URL+path, bytes.NewReader(body))
	w.must(err)
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Authorization", "Bearer "+w.key)
	for pair := range slices.Chunk(more, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	return w.do(request, want)
}

func (w *world) do(request *http.Request, want int) []byte {
	w.t.Helper()
	response, err := w.http.Do(request)
	w.must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	w.must(err)
	if response.StatusCode != want {
		w.t.Fatalf("%s %s answered %s: %s", request.Method, request.URL.Path, response.Status, body)
	}
	return body
}
