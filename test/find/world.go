package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/backoff"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/starter/find"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// kind is where a record is.
type kind string

const (
	indexed kind = "indexed"
	dead    kind = "dead"
	held    kind = "held"
	queued  kind = "queued"
	unknown kind = "unknown"
)

// shares are those of the ids, of twenty.
var shares = []struct {
	kind
	of20 int
}{{indexed, 14}, {dead, 3}, {held, 1}, {queued, 1}, {unknown, 1}}

// record is one that is asked for.
type record struct {
	kind
	id      string
	request string // under whose id it was accepted
	// Where it is held.
	workflow, sequence string
}

const (
	tenant  = "finder"
	perPost = 100
	shards  = 4
	// patience is how long a step may take.
	patience = 5 * time.Minute
)

// world is a pipeline with records everywhere.
type world struct {
	stack    *local.Stack
	pipeline *pipeline.Pipeline
	aws      aws.Config
	streams  *kinesis.Client
	temporal client.Client
	finder   *find.Finder
	key      string
	records  []*record
}

func (w *world) of(k kind) (some []*record) {
	for _, r := range w.records {
		if r.kind == k {
			some = append(some, r)
		}
	}
	return some
}

// newWorld starts the servers, and sets the pipeline up. Stop ends all of it.
func newWorld(ctx context.Context, ids int) (w *world, stop func() error, err error) {
	// Kinesalite reads a range of its records; MiniStack looks at all that a stream has
	// had for each read.
	stack, programs, err := pipeline.StartServers(ctx, local.Options{Progress: os.Stdout, Services: []string{local.Kinesalite}})
	if err != nil {
		return nil, nil, err
	}
	w = &world{
		stack: stack, aws: local.AWSConfig(stack.Service(local.AWS).URL()),
		streams: kinesis.NewFromConfig(local.AWSConfig(stack.Service(local.Kinesalite).URL())),
	}
	servers := append(stack.Env(), "AWS_ENDPOINT_URL_KINESIS="+stack.Service(local.Kinesalite).URL())
	w.pipeline = pipeline.New(pipeline.Settings{Programs: programs, Servers: servers, Shards: shards, Dir: stack.LogDir()})
	stop = func() error { return errors.Join(w.pipeline.Stop(), stack.Stop()) }
	for _, share := range shares {
		for n := range ids * share.of20 / 20 {
			w.records = append(w.records, &record{kind: share.kind, id: fmt.Sprintf("%s-%d", share.kind, n)})
		}
	}
	if err := w.open(); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	if err := w.pipeline.Setup(ctx); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	if w.key, err = w.pipeline.CreateKey(ctx, tenant); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return w, stop, nil
}

var names = config.Resources{
	Stream: "millrace-telemetry-stream", Queue: "millrace-telemetry-queue", DeadLetters: "millrace-telemetry-dlq", Bucket: "millrace-telemetry",
}

func (w *world) open() (err error) {
	if w.temporal, err = pipeline.DialQuietly(w.stack.Service(local.Temporal).Address(), "default"); err != nil {
		return err
	}
	documents, err := index.Open(index.Settings{URLs: []string{w.stack.Service(local.Elasticsearch).URL()}})
	if err != nil {
		return err
	}
	w.finder = find.New(w.aws, names, documents, find.Temporal{Client: w.temporal, Stream: names.Stream, AnswerWithin: time.Minute})
	return nil
}

// fill puts each record where it is to be.
func (w *world) fill(ctx context.Context) error {
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"index records, and give others up", w.process},
		{"hold records", w.hold},
		{"queue records", w.queue},
	} {
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, patience)
		err := step.do(within)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Printf("%s: %.1f s\n", step.what, time.Since(began).Seconds())
	}
	return nil
}

// process posts what is to be indexed, or refused, and waits until it is.
func (w *world) process(ctx context.Context) error {
	collector, err := w.pipeline.StartCollector(ctx)
	if err != nil {
		return err
	}
	worker, err := w.pipeline.StartWorker(ctx)
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"process", "start"}, {"backup", "start"}} {
		if _, err := w.pipeline.Starter(ctx, args...); err != nil {
			return err
		}
	}
	if err := w.pipeline.AwaitShards(ctx); err != nil {
		return err
	}
	posted := slices.Concat(w.of(indexed), w.of(dead))
	mix(posted) // mostly poison would make the tenant an offender
	if err := w.post(ctx, collector.URL, posted); err != nil {
		return err
	}
	if err := w.await(ctx, w.processed); err != nil {
		return err
	}
	// From here on nothing indexes what comes, nor puts batches into the stream but a collector.
	if err := worker.Stop(); err != nil {
		return err
	}
	_, err = w.pipeline.StartWorker(ctx, "MILLRACE_QUEUES=process,dead")
	return err
}

// mix spreads records of each kind among the others, always in the same way.
func mix(records []*record) {
	slices.SortStableFunc(records, func(a, b *record) int {
		return bytes.Compare(place(a), place(b))
	})
}

func place(r *record) []byte {
	id := telemetry.NewDocID(tenant, "", r.id)
	return id[:]
}

// processed reports whether each record that was posted is in the index or in the ledger.
func (w *world) processed(ctx context.Context) (bool, error) {
	out, err := w.pipeline.Starter(ctx, "dlq", "list", "--json")
	if err != nil {
		return false, err
	}
	var groups []struct{ Records int }
	if err := json.Unmarshal([]byte(out), &groups); err != nil {
		return false, fmt.Errorf("read the dead letters: %w", err)
	}
	given := 0
	for _, g := range groups {
		given += g.Records
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.stack.Service(local.Elasticsearch).URL()+"/telemetry-*/_count?ignore_unavailable=true", nil)
	if err != nil {
		return false, err
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	var counted struct{ Count int }
	if err := json.NewDecoder(response.Body).Decode(&counted); err != nil {
		return false, fmt.Errorf("count the documents: %w", err)
	}
	return given == len(w.of(dead)) && counted.Count == len(w.of(indexed)), nil
}

// post posts records, and keeps under which request each was accepted.
func (w *world) post(ctx context.Context, url string, records []*record) error {
	for some := range slices.Chunk(records, perPost) {
		var body []map[string]any
		for _, r := range some {
			one := map[string]any{"id": r.id, "type": "span", "timestamp": time.Now().UTC().Format(time.RFC3339Nano), "duration": 1}
			if r.kind == dead {
				one["duration"] = "long"
			}
			body = append(body, one)
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode records: %w", err)
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/telemetry", bytes.NewReader(encoded))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "ApiKey "+w.key)
		request.Header.Set("Content-Type", "application/json")
		response, err := local.Client.Do(request)
		if err != nil {
			return fmt.Errorf("post records: %w", err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusAccepted {
			return fmt.Errorf("post records: the collector answered %s", response.Status)
		}
		for _, r := range some {
			r.request = response.Header.Get("X-Request-Id")
		}
	}
	return nil
}

// await waits until a condition holds.
func (w *world) await(ctx context.Context, condition func(context.Context) (bool, error)) error {
	for {
		holds, err := condition(ctx)
		if holds || err != nil {
			return err
		}
		if !backoff.Sleep(ctx, time.Second) {
			return context.Cause(ctx)
		}
	}
}

// hold posts records that no worker indexes, and starts a ProcessBatch for those of each
// shard, whose attempts no worker makes.
func (w *world) hold(ctx context.Context) error {
	collector := w.pipeline.Running()[0]
	if err := w.post(ctx, collector.URL, w.of(held)); err != nil {
		return err
	}
	opened, err := stream.Open(ctx, w.streams, names.Stream, stream.Settings{CallsPerSecond: -1, BytesPerSecond: -1})
	if err != nil {
		return err
	}
	listed, err := opened.Shards(ctx)
	if err != nil {
		return err
	}
	byID := map[string]*record{}
	for _, r := range w.of(held) {
		byID[r.id] = r
	}
	mine := map[string][]stream.Record{}
	come := func(ctx context.Context) (bool, error) {
		count := 0
		for _, shard := range listed {
			some, err := heldIn(ctx, opened, shard.ID, byID)
			if err != nil {
				return false, err
			}
			mine[shard.ID], count = some, count+len(some)
		}
		return count == len(byID), nil
	}
	if err := w.await(ctx, come); err != nil {
		return err
	}
	for shard, some := range mine {
		if err := w.startBatch(ctx, opened, shard, some, byID); err != nil {
			return err
		}
	}
	return w.await(ctx, func(ctx context.Context) (bool, error) {
		open, more, err := w.finder.Batches.Open(ctx, shards)
		return len(open) == len(mine) && !more, err
	})
}

// startBatch starts a ProcessBatch for records of a shard.
func (w *world) startBatch(ctx context.Context, of *stream.Stream, shard string, some []stream.Record, byID map[string]*record) error {
	if len(some) == 0 {
		return fmt.Errorf("shard %s has no record: ask for more", shard)
	}
	r := telemetry.Range{
		StreamARN: of.ARN(), StreamCreated: of.Created(), Shard: shard, First: some[0].Sequence, Last: some[len(some)-1].Sequence, Count: len(some),
	}
	for _, one := range some {
		known := byID[telemetry.ParseFields(one.Data).ID]
		known.workflow, known.sequence = workflows.ProcessBatchID(names.Stream, r), one.Sequence
	}
	this := telemetry.StreamID{Name: of.Name(), ARN: of.ARN(), Created: of.Created()}
	return launch.Launcher{Client: w.temporal}.StartBatch(ctx, this, r, outcome.Error{Type: "made_up", Reason: "nothing indexes it"}, time.Time{})
}

// heldIn reads from a shard the records that are to be held.
func heldIn(ctx context.Context, of *stream.Stream, shard string, byID map[string]*record) (mine []stream.Record, err error) {
	for reader := of.Reader(shard, telemetry.Checkpoint{}); ; {
		page, err := reader.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			for _, d := range r.Documents() {
				if byID[telemetry.ParseFields(d.Data).ID] != nil {
					mine = append(mine, d)
				}
			}
		}
		if len(page.Records) == 0 {
			return mine, nil
		}
	}
}

// queue posts records to a collector that cannot find the stream.
func (w *world) queue(ctx context.Context) error {
	if err := w.pipeline.Running()[0].Stop(); err != nil {
		return err
	}
	collector, err := w.pipeline.StartCollector(ctx, "MILLRACE_STREAM=a-stream-that-is-away")
	if err != nil {
		return err
	}
	if err := w.post(ctx, collector.URL, w.of(queued)); err != nil {
		return err
	}
	return w.await(ctx, func(ctx context.Context) (bool, error) {
		open, err := w.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowType = 'IngestBatch' AND " + launch.Open})
		if err != nil {
			return false, fmt.Errorf("count the open batches: %w", err)
		}
		return open.GetCount() == 0, nil
	})
}
