package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/process"
	"millrace/activities/supervise"
	"millrace/deploy/local/localtest"
	"millrace/internal/indexing"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// runMain has this test's program be the command itself.
const runMain = "STARTER_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// operator runs the command in an environment of its own.
type operator struct {
	t   *testing.T
	env []string
}

// result is how a command ended.
type result struct {
	out, err string
	status   int
}

func newOperator(t *testing.T, env ...string) operator {
	// A program built with -race sleeps a second before it ends, or not.
	kept := []string{runMain + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	if folder := os.Getenv("GOCOVERDIR"); folder != "" {
		kept = append(kept, "GOCOVERDIR="+folder)
	}
	return operator{t, append(kept, env...)}
}

// commandWithin bounds one command: on a busy machine each call to Temporal takes
// its time, and those that wait for a workflow make many.
const commandWithin = 10 * time.Minute

// run runs the command and returns how it ended.
func (o operator) run(args ...string) (r result) {
	o.t.Helper()
	program, err := os.Executable()
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = o.env, &out, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		r.status = exit.ExitCode()
	} else if err != nil {
		o.t.Fatalf("starter %v: %v", args, err)
	}
	r.out, r.err = out.String(), stderr.String()
	return r
}

// must runs a command that must succeed and print these texts.
func (o operator) must(args string, texts ...string) string {
	o.t.Helper()
	r := o.run(strings.Fields(args)...)
	if r.status != 0 {
		o.t.Fatalf("starter %s ended with %d: %s%s", args, r.status, r.out, r.err)
	}
	contains(o.t, args, r.out, texts...)
	return r.out
}

// mustJSON runs a command that must print JSON.
func (o operator) mustJSON(value any, args string) {
	o.t.Helper()
	if text := o.must(args); json.Unmarshal([]byte(text), value) != nil {
		o.t.Fatalf("starter %s does not print JSON of %T:\n%s", args, value, text)
	}
}

// fails runs a command that must fail and say these texts.
func (o operator) fails(args string, texts ...string) {
	o.t.Helper()
	r := o.run(strings.Fields(args)...)
	if r.status == 0 {
		o.t.Fatalf("starter %s succeeded: %s", args, r.out)
	}
	contains(o.t, args, r.out+r.err, texts...)
}

func contains(t *testing.T, args, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("starter %s does not print %q:\n%s", args, text, got)
		}
	}
}

// await polls until a condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen in time", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// pipeline is a Temporal namespace with workers that run the real workflows
// and supervise shards that are made up.
type pipeline struct {
	operator
	client client.Client
	stream telemetry.StreamID
}

// Shards that are made up: the third comes from the second.
var listed = []stream.Shard{
	{ID: "shardId-000000000000"}, {ID: "shardId-000000000001"}, {ID: "shardId-000000000002", Parents: []string{"shardId-000000000001"}},
}

type lister struct{}

func (lister) Shards(context.Context) ([]stream.Shard, error) { return listed, nil }

const (
	streamName = "made-up"
	queueName  = "made-up-queue"
)

// newPipeline makes a namespace, and an operator who knows of it. With
// withWorker, a worker runs there.
func newPipeline(t *testing.T, withWorker bool) pipeline {
	t.Helper()
	options := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	p := pipeline{
		operator: newOperator(t, "TEMPORAL_ADDRESS="+options.HostPort, "TEMPORAL_NAMESPACE="+options.Namespace,
			"MILLRACE_STREAM="+streamName, "MILLRACE_QUEUE="+queueName, "MILLRACE_ANSWER_WITHIN=1m"), // this machine may be busy
		client: localtest.TemporalClient(t, options),
		stream: telemetry.StreamID{Name: streamName, ARN: "arn", Created: time.Unix(1_795_392_000, 0).UTC()},
	}
	if withWorker {
		p.work()
	}
	return p
}

func (p pipeline) work() {
	p.t.Helper()
	supervisor := &supervise.Supervisor{Stream: p.stream, Shards: lister{}, Workflows: workflows.Launcher{Client: p.client}}
	for _, queue := range []string{workflows.ProcessQueue, workflows.RangeQueue, workflows.IndexQueue, workflows.RedriveQueue} {
		w := worker.New(p.client, queue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
		w.RegisterWorkflow(workflows.ProcessStream)
		w.RegisterWorkflow(workflows.ProcessShard)
		w.RegisterActivity(supervisor)
		w.RegisterActivityWithOptions(indexShard, activity.RegisterOptions{Name: "IndexShard"})
		w.RegisterWorkflow(workflows.ProcessBatch)
		w.RegisterActivityWithOptions(indexRange, activity.RegisterOptions{Name: "IndexRange"})
		w.RegisterActivityWithOptions(buryRange, activity.RegisterOptions{Name: "BuryRange"})
		w.RegisterWorkflow(workflows.Redrive)
		w.RegisterActivityWithOptions(redriveMessages, activity.RegisterOptions{Name: "RedriveMessages"})
		if err := w.Start(); err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(w.Stop)
	}
}

// sequence is as long as those of Kinesis.
const sequence = "49600000000000000000000000000000000000000000001234567890"

var readUpTo = time.Unix(1_795_392_060, 0).UTC()

// indexShard is an IndexShard that says how far it is until it is canceled,
// and then has come one record further.
func indexShard(ctx context.Context, in process.IndexInput) (process.IndexResult, error) {
	progress := process.Progress{
		Checkpoint: telemetry.Checkpoint{Sequence: sequence, ReadUpTo: readUpTo},
		Counts:     in.Counts, LagSeconds: 7, Worker: "made-up-worker", LastError: "es_rejected_execution_exception:\n  queue full",
	}
	for ctx.Err() == nil {
		activity.RecordHeartbeat(ctx, progress)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	progress.Counts.Add(indexing.Counts{Records: 1, Indexed: 1})
	return process.IndexResult{Progress: progress}, nil
}

// leaves are all commands.
var leaves = []string{
	"setup", "send", "backup start", "backup stop", "backup pause", "backup resume", "backup status", "process start", "process stop", "process status", "shards", "shard show", "shard pause", "shard resume", "shard lift",
	"stream pause", "stream resume", "batch list", "batch show", "batch retry", "batch skip", "batch cancel", "parked list", "parked show", "parked start", "parked pause", "parked resume", "parked cancel", "dlq list", "dlq show",
	"dlq reprocess", "dlq status", "dlq pause", "dlq resume", "dlq cancel",
	"letters start", "letters stop", "letters pause", "letters resume", "letters status", "redrive start", "redrive stop", "redrive status", "redrive pause", "redrive resume",
	"recover start", "recover status", "recover pause", "recover resume", "recover cancel", "recover set-rate", "replay",
	"snapshot schedule", "snapshot take", "snapshot list", "snapshot accept", "retention schedule", "retention run",
	"drill schedule", "drill run", "drill status", "drill cancel",
}

func TestHelpOfEveryCommand(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	top := o.must("--help", "Examples:", "TEMPORAL_ADDRESS", "Processing:", "Names in AWS:", "MILLRACE_STREAM")
	for _, command := range leaves {
		contains(t, "--help", top, "\n  "+command+" ")
		help := o.must(command+" --help", "Usage: starter "+command)
		if strings.Contains(help, "%!") || strings.Contains(help, "${") {
			t.Errorf("the help of %s was not filled in:\n%s", command, help)
		}
	}
}

func TestWhatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	for args, want := range map[string]string{
		"":                                   "expected one of",
		"process":                            "expected one of",
		"setup --shards 0":                   "--shards: 0",
		"setup --retention-hours 12":         "--retention-hours: 12 is not from 24 to 8760",
		"setup --replicas=-1":                "--index-shards, --replicas",
		"setup --elasticsearch-url nowhere":  "--elasticsearch-url",
		"process start --call-for 1ms":       "--call-for",
		"shard pause":                        "<shard>",
		"shard pause 3 --for=-1m":            "--for: -1m0s is over already",
		"process start --stream no/stream":   "--stream",
		"redrive start --queue no.queue":     "--queue",
		"snapshot take --every 1s":           "every: 1s is less than 1m",
		"snapshot take --repository A":       "--repository",
		"snapshot take --indices all":        "does not begin with",
		"snapshot take --keep-daily 1h":      "shorter than keepAll",
		"send":                               "--records or --for",
		"send --records 1 --bad 2":           "--bad",
		"send --records 1 --run A":           "--run",
		"send --records 1 --protocol smoke":  "--protocol",
		"recover --into A --replace":         "into, replace",
		"recover --snapshot a --no-snapshot": "give one of them at the most",
		"recover --tenant acme":              "give noSnapshot",
		"recover --lease 1s":                 "lease: 1s is less than 5s",
		"recover --rate=-1":                  "rate: -1 is negative",
		"replay":                             "--from, --to",
		"drill run --rate=-1":                "rate: -1 is negative",
		"drill schedule --every 1s":          "--every: 1s is less than 1m",
		"process status --answer-within 0":   "--answer-within",
		"send --records 1 --url nowhere":     "--url",
		"send --records 1 --duplicates 1.01": "out of its range",
	} {
		o.fails(args, want)
	}
}

func TestTemporalThatIsNotThere(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "TEMPORAL_ADDRESS=127.0.0.1:1")
	for _, args := range []string{"process start", "process stop", "process status", "shards", "redrive start", "shard pause 3", "stream resume", "recover", "recover status"} {
		o.fails(args, "Temporal does not answer at 127.0.0.1:1: set TEMPORAL_ADDRESS")
	}
	options := localtest.Temporal(t)
	newOperator(t, "TEMPORAL_ADDRESS="+options.HostPort, "TEMPORAL_NAMESPACE=nowhere").
		fails("process start", "there is no namespace nowhere: set TEMPORAL_NAMESPACE or create it")
}
