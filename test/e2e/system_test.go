// Package e2e runs the programs that users deploy, with the agents that users
// have, against real servers, and asks the stores what became of everything.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/client"

	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/test/kit/agents"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// programs are built once. They lie in the clone, so that the go command sees when they change.
var programs = sync.OnceValues(func() (pipeline.Programs, error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return pipeline.Programs{}, err
	}
	return pipeline.Build(context.Background(), root, filepath.Join(root, ".local", "bin", "test-e2e"), buildFlags...)
})

// installed are the agents.
var installed = sync.OnceValues(func() (*agents.Agents, error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return nil, err
	}
	return agents.Install(context.Background(), root, nil)
})

// system is the system under test: the deployed programs, with a namespace,
// stream, queues, bucket and tenant of their own.
type system struct {
	*pipeline.Pipeline
	t         testing.TB
	settings  pipeline.Settings
	resources config.Resources
	tenant    string
	key       string
	stores    audit.Stores
	http      *http.Client
	temporal  client.Options
	operator  client.Client // as an operator's tools have it
	canaryKey string

	collector, worker *pipeline.Program
}

// workerEnv keeps a worker small, since the memory of its cache is taken at
// once, and the objects of its backup, so that there are many. It reads an idle
// shard rarely: many pipelines share the servers.
var workerEnv = []string{"MILLRACE_DEDUP_IDS=100000", "MILLRACE_BACKUP_BYTES=60000", "MILLRACE_BACKUP_WITHIN=2s", "MILLRACE_STREAM_IDLE_WAIT=1s"}

// servers are the addresses that a test may put a proxy before, how many shards
// the stream has, the version of the programs, if they have one, and whether
// batches are to go directly into the stream.
type servers struct {
	aws, kinesis, elasticsearch string
	shards                      int
	version                     string
	form                        string // of the stream's records
	direct                      bool
	canary                      bool     // whether the worker has one
	collector                   []string // more of its environment
	all                         []string // more of the environment of all programs
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
func start(t testing.TB, through func(*servers), more ...string) *system {
	t.Helper()
	s, at := prepare(t, through)
	version := "MILLRACE_BUILD_ID=" + at.version
	mode := map[bool]string{false: "INGEST=temporal", true: "INGEST=direct"}[at.direct]
	var err error
	s.collector, err = s.StartCollector(t.Context(), append(at.collector, version, mode, "MILLRACE_INDEX_DAYS_BACK=60", "MILLRACE_CORS_ORIGINS="+pageOrigin)...)
	s.must(err)
	if at.canary {
		canary, err := s.CanaryOf(t.Context(), s.collector)
		s.must(err)
		_, s.canaryKey, _ = strings.Cut(canary[1], "=")
		more = append(canary, more...)
		t.Cleanup(func() { // before the pipeline ends: else its schedule would go on in the server
			if _, err := s.Starter(context.WithoutCancel(t.Context()), "canary", "unschedule"); err != nil {
				t.Log(err)
			}
		})
	}
	s.worker, err = s.StartWorker(t.Context(), append(append(slices.Clone(workerEnv), version), more...)...)
	s.must(err)
	s.must(s.StartWorkflows(t.Context()))
	return s
}

// prepare makes what a pipeline needs, and starts nothing.
func prepare(t testing.TB, through func(*servers)) (*system, servers) {
	t.Helper()
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	name := localtest.Name(t, "e2e")
	temporal := localtest.TemporalNamespace(t)
	cfg := localtest.AWS(t)
	s := &system{
		t: t, tenant: name, temporal: temporal, http: localtest.Client(t), operator: localtest.TemporalClient(t, temporal),
		resources: config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name},
		stores: audit.Stores{
			Elasticsearch: localtest.Elasticsearch(t), Tenant: name, Bucket: name,
			S3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		},
	}
	at := servers{aws: *cfg.BaseEndpoint, elasticsearch: s.stores.Elasticsearch, shards: 2}
	if through != nil {
		through(&at)
	}
	environment := []string{
		"AWS_ENDPOINT_URL=" + at.aws, "AWS_REGION=" + local.Region, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
		"TEMPORAL_ADDRESS=" + temporal.HostPort, "TEMPORAL_NAMESPACE=" + temporal.Namespace,
		local.EnvElasticsearch + "=" + at.elasticsearch,
		"MILLRACE_ANSWER_WITHIN=2m", // of starter, beside many other pipelines
	}
	if at.kinesis != "" {
		environment = append(environment, "AWS_ENDPOINT_URL_KINESIS="+at.kinesis)
	}
	environment = append(environment, at.all...)
	s.settings = pipeline.Settings{Programs: built, Servers: environment, Resources: s.resources, Shards: at.shards, Form: at.form, Dir: t.TempDir()}
	s.Pipeline = pipeline.New(s.settings)
	s.must(s.Setup(t.Context()))
	s.key, err = s.CreateKey(t.Context(), s.tenant)
	s.must(err)
	t.Cleanup(s.end)
	return s, at
}

func (s *system) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// end stops what runs, shows the logs of a test that failed, and deletes what
// the servers would keep in memory.
func (s *system) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, stop := range [][]string{{"process", "stop", "--yes"}, {"redrive", "stop"}} {
		if _, err := s.Starter(ctx, stop...); err != nil {
			s.t.Log(err)
		}
	}
	ran := s.Running()
	if err := s.Stop(); err != nil {
		s.t.Error(err)
	}
	if s.t.Failed() {
		for _, program := range ran {
			s.showLog(program.Log)
		}
	}
	cfg := localtest.AWS(s.t)
	_, _ = kinesis.NewFromConfig(cfg).DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &s.resources.Stream})
	queues := sqs.NewFromConfig(cfg)
	for _, name := range []string{s.resources.Queue, s.resources.DeadLetters} {
		if found, err := queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name}); err == nil {
			_, _ = queues.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: found.QueueUrl})
		}
	}
}

func (s *system) showLog(path string) {
	const most = 16 << 10
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Log(err)
		return
	}
	s.t.Logf("the end of %s:\n%s", path, text[max(0, len(text)-most):])
}

// makeRepository makes a repository for snapshots, which goes with the test.
func (s *system) makeRepository(name string) {
	s.t.Helper()
	cluster, err := index.Open(index.Settings{URLs: []string{s.stores.Elasticsearch}})
	s.must(err)
	_, err = cluster.EnsureRepository(s.t.Context(), index.Repository{Name: name, Type: "fs", Settings: map[string]string{"location": name}})
	s.must(err)
	s.t.Cleanup(func() { _ = cluster.RemoveRepository(context.WithoutCancel(s.t.Context()), name) })
}

// post posts to the collector with the tenant's key, and returns the answer. As an agent does, it posts again
// after a 503. more are names and values of header fields.
func (s *system) post(path, contentType string, body []byte, want int, more ...string) (answer []byte) {
	s.t.Helper()
	s.await(func() error {
		request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.collector.URL+path, bytes.NewReader(body))
		s.must(err)
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("Authorization", "Bearer "+s.key)
		for pair := range slices.Chunk(more, 2) {
			request.Header.Set(pair[0], pair[1])
		}
		status, text := s.send(request)
		if status == http.StatusServiceUnavailable && want != status {
			return fmt.Errorf("POST %s answered %d: %s", path, status, text)
		}
		if status != want {
			s.t.Fatalf("POST %s answered %d: %s", path, status, text)
		}
		answer = text
		return nil
	})
	return answer
}

func (s *system) do(request *http.Request, want int) []byte {
	s.t.Helper()
	status, body := s.send(request)
	if status != want {
		s.t.Fatalf("%s %s answered %d: %s", request.Method, request.URL.Path, status, body)
	}
	return body
}

func (s *system) send(request *http.Request) (status int, body []byte) {
	s.t.Helper()
	response, err := s.http.Do(request)
	s.must(err)
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	s.must(err)
	return response.StatusCode, body
}
