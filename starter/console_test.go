package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/recovery"
	"millrace/deploy/local/localtest"
	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/starter/console"
	"millrace/workflows"
)

// observedOf is what the console would see of a pipeline that is made up.
func observedOf(p pipeline) *observed {
	p.t.Helper()
	options := localtest.Temporal(p.t)
	options.Namespace, options.Logger = p.namespace, nil
	c, err := observer(options, "console")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return &observed{
		client: &asker{c, time.Minute}, names: &config.Resources{Stream: streamName, Queue: queueName, DeadLetters: "dlq", Bucket: "bucket"},
		namespace: p.namespace, repository: "millrace", logger: slog.New(slog.DiscardHandler), by: "console", within: time.Minute,
	}
}

func TestConsoleSeesShards(t *testing.T) {
	t.Parallel()
	p := started(t)
	o := observedOf(p)
	p.must("shard pause 1 --reason maintenance")
	got, err := o.shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Total != 3 || len(got.Shards) != 3 || got.Silent != "" || got.ByState[control.StatePaused] != 1 || got.ByState[control.StateBlocked] != 1 {
		t.Errorf("the shards are %+v", got)
	}
	paused, running, blocked := got.Shards[0], got.Shards[1], got.Shards[2]
	if paused.ID != "shardId-000000000001" || len(paused.Holds) != 1 || paused.Holds[0].By != "operator" || paused.Holds[0].Reason != "maintenance" || *paused.Lag < 60 {
		t.Errorf("the paused one is %+v", paused)
	}
	if running.State != control.StateRunning || *running.Lag != 7 || running.Worker != "made-up-worker" || running.Why != "es_rejected_execution_exception: queue full" ||
		running.Workflow != workflows.ProcessShardID(streamName, p.stream.Created, "shardId-000000000000") {
		t.Errorf("the running one is %+v", running)
	}
	if blocked.State != control.StateBlocked || blocked.Why != "until shardId-000000000001 is drained" || blocked.Lag != nil {
		t.Errorf("the blocked one is %+v", blocked)
	}
}

// TestConsoleSeesShardsWithoutAWorker: the stream has them, and Temporal knows that nothing runs.
func TestConsoleSeesShardsWithoutAWorker(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	o := observedOf(p)
	o.client.(*asker).within = 2 * time.Second
	o.names.Stream = localtest.Name(t, "")
	if _, err := stream.Create(t.Context(), kinesis.NewFromConfig(localtest.AWS(t)), o.names.Stream, 1, stream.ShortestRetention); err != nil {
		t.Fatal(err)
	}
	got, err := o.shards(t.Context())
	if err != nil || got.Silent != "" || len(got.Shards) != 1 || got.Shards[0].State != "-" {
		t.Errorf("never started, it is %+v, %v", got, err)
	}
	if _, err := processing(p.client, o.names).start(t.Context(), "process", "no worker", workflows.ProcessStream, workflows.StreamInput{Stream: o.names.Stream}); err != nil {
		t.Fatal(err)
	}
	got, err = o.shards(t.Context())
	if err != nil || !strings.Contains(got.Silent, "no worker answered") || len(got.Shards) != 1 || got.Shards[0].ID != "shardId-000000000000" {
		t.Errorf("without a worker it is %+v, %v", got, err)
	}
}

// TestConsoleFindsWhatTheDoctorFinds: of a pipeline of which only processing runs.
func TestConsoleFindsWhatTheDoctorFinds(t *testing.T) {
	t.Parallel()
	o := observedOf(started(t))
	found, err := o.checks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]console.Level{}
	for _, f := range found {
		levels[f.Check] = f.Level
		if f.Do == "" {
			t.Errorf("%s does not say what to do", f.Check)
		}
	}
	for check, want := range map[string]console.Level{"Redrive": console.Bad, "ProcessStream": "", "snapshots": console.Note, "BackupStream": console.Warn} {
		if levels[check] != want {
			t.Errorf("%s is %q, want %q; all: %v", check, levels[check], want, levels)
		}
	}
	if r, err := o.residual(t.Context()); err != nil || r.Audited {
		t.Errorf("a pipeline without an audit is %+v, %v", r, err)
	}
	if all, err := o.recoveries(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("its recoveries are %+v, %v", all, err)
	}
}

// recovered is a Recover that is in its backfill until it is told to end, and then lacks something.
func recovered(ctx workflow.Context) (recovery.RecoverResult, error) {
	progress := workflows.RecoverProgress{
		ID: "r", Stage: workflows.StageBackfill, State: control.StateRunning, Objects: 10, ObjectsDone: 4, Records: 100, RecordsDone: 40, Rate: 20, Remaining: 3, LastError: "queue\nfull",
	}
	if err := workflow.SetQueryHandler(ctx, workflows.ProgressQuery, func() (workflows.RecoverProgress, error) { return progress, nil }); err != nil {
		return recovery.RecoverResult{}, err
	}
	workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
	return recovery.RecoverResult{ID: "r", Verified: true, Indices: 2, Backfill: recovery.SweepCounts{Records: 100, Objects: 10}}, nil
}

// drilled is a DrillRecovery that runs until it is told to end, and then fails.
func drilled(ctx workflow.Context) error {
	result := workflows.DrillResult{Stage: "comparing", Live: recovery.DrillBegun{Documents: 7, Indices: 2}}
	if err := workflow.SetQueryHandler(ctx, workflows.StatusQuery, func() (workflows.DrillResult, error) { return result, nil }); err != nil {
		return err
	}
	workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
	return temporal.NewNonRetryableApplicationError("2 indices lack 3 documents", workflows.DrillIncomplete, nil)
}

func TestConsoleShowsRecoveriesAndDrills(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	w := worker.New(p.client, workflows.RecoverQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(recovered, workflow.RegisterOptions{Name: "Recover"})
	w.RegisterWorkflowWithOptions(drilled, workflow.RegisterOptions{Name: "DrillRecovery"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	o, byKind := observedOf(p), map[string]console.Recovery{}
	for id, kind := range map[string]string{workflows.RecoverID: "Recover", workflows.DrillID: "DrillRecovery"} {
		if _, err := p.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.RecoverQueue}, kind); err != nil {
			t.Fatal(err)
		}
	}
	look := func(what string, done func() bool) {
		t.Helper()
		await(t, what, func() bool {
			all, err := o.recoveries(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range all {
				byKind[r.Kind] = r
			}
			return done()
		})
	}
	look("both run", func() bool { return byKind["Recover"].Share != nil && byKind["DrillRecovery"].Stage != "" })
	if r := byKind["Recover"]; r.State != control.StateRunning || r.Stage != workflows.StageBackfill || *r.Share != 0.4 || r.Left != 3 || r.Error != "queue full" ||
		r.Detail != "40 of about 100 records, 20/s" || r.By == "" || !r.Ended.IsZero() {
		t.Errorf("the recovery is %+v", r)
	}
	if r := byKind["DrillRecovery"]; r.Stage != "comparing" || r.Detail != "7 documents in 2 indices are to come back" || r.Share != nil || r.Error != "" {
		t.Errorf("the drill is %+v", r)
	}
	for _, id := range []string{workflows.RecoverID, workflows.DrillID} {
		if err := p.client.SignalWorkflow(t.Context(), id, "", "end", nil); err != nil {
			t.Fatal(err)
		}
	}
	look("both end", func() bool { return !byKind["Recover"].Ended.IsZero() && !byKind["DrillRecovery"].Ended.IsZero() })
	if r := byKind["Recover"]; r.State != "not complete" || r.Detail != "2 indices restored, 100 records backfilled" || r.Error != "" {
		t.Errorf("the recovery ends as %+v", r)
	}
	if r := byKind["DrillRecovery"]; r.State != "failed" || r.Error != "2 indices lack 3 documents" {
		t.Errorf("the drill ends as %+v", r)
	}
	if len(o.ended.of) != 2 {
		t.Errorf("%d that ended are remembered", len(o.ended.of))
	}
}

// audited is an AuditBackup that has looked at some records, and found this many nowhere.
func audited(ctx workflow.Context, missing int) error {
	status := map[string]any{"state": "done", "finished": workflow.Now(ctx).UTC(), "checked": 500, "missing": missing, "objects": 7}
	if missing < 0 {
		status = map[string]any{"state": "done", "finished": workflow.Now(ctx).UTC(), "skipped": "a recovery is open"}
	}
	if err := workflow.SetQueryHandler(ctx, workflows.StatusQuery, func() (any, error) { return status, nil }); err != nil {
		return err
	}
	if missing > 0 {
		return errors.New("records are missing")
	}
	return nil
}

// TestConsoleSaysWhatTheLastAuditFound, also where it failed because records are missing.
func TestConsoleSaysWhatTheLastAuditFound(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	w := worker.New(p.client, workflows.RecoverQueue, worker.Options{})
	w.RegisterWorkflow(audited)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	o := observedOf(p)
	for _, missing := range []int{0, 3} {
		run, err := p.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: auditWorkflow, TaskQueue: workflows.RecoverQueue}, audited, missing)
		if err != nil {
			t.Fatal(err)
		}
		_ = run.Get(t.Context(), nil) // it may fail, as an audit does
		got, err := o.residual(t.Context())
		if err != nil || !got.Audited || got.Records != int64(missing) || got.Compared != 500 || got.At.IsZero() || got.Workflow != auditWorkflow {
			t.Errorf("of %d that are missing it says %+v, %v", missing, got, err)
		}
	}
	run, err := p.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: auditWorkflow, TaskQueue: workflows.RecoverQueue}, audited, -1)
	if err == nil {
		err = run.Get(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := o.residual(t.Context()); err != nil || got.Audited || got.Detail != "a recovery is open" {
		t.Errorf("of one that was skipped it says %+v, %v", got, err)
	}
}

// TestConsoleWorksWithoutItsSources: the page comes, and says what cannot be read.
func TestConsoleWorksWithoutItsSources(t *testing.T) {
	t.Parallel()
	o := newOperator(t, "TEMPORAL_ADDRESS=127.0.0.1:1", "AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_MAX_ATTEMPTS=1")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "console", "--listen", "127.0.0.1:0", "--source-timeout", "2s", "--worker-url", "http://127.0.0.1:1")
	cmd.Env = o.env
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(said)
	if err != nil || address == "" {
		t.Fatalf("it says %q: %v", said, err)
	}
	page := localtest.Client(t)
	await(t, "the errors of all sources", func() bool {
		response, err := page.Get(address + "/state")
		if err != nil {
			err = errors.Join(err, cmd.Process.Kill(), cmd.Wait())
			t.Fatalf("%v\n%s", err, &complaints)
		}
		defer response.Body.Close()
		var s console.State
		if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
			t.Fatal(err)
		}
		failing := []string{s.Shards.Error, s.Queue.Error, s.Letters.Error, s.Backup.Error, s.Snapshots.Error, s.Recoveries.Error, s.Residual.Error, s.Processes[0].Error}
		return !slices.Contains(failing, "") && s.Nodes[console.Worker] == console.Bad
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted, it ended with %v", err)
	}
}

// TestTheConsolesClientWithoutATurnFails: an answer that it never got is not an empty one.
func TestTheConsolesClientWithoutATurnFails(t *testing.T) {
	t.Parallel()
	c := observedOf(newPipeline(t, false)).client
	others, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for range 10 * temporalRate { // all turns of the next seconds are taken
		asking.Go(func() { _, _ = c.DescribeWorkflowExecution(others, "x", "") })
	}
	await(t, "a call without a turn", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/(4*temporalRate))
		defer cancel()
		_, err := c.DescribeWorkflowExecution(ctx, "x", "")
		return err != nil && strings.Contains(err.Error(), "wait for a turn")
	})
}

// TestTheConsolesClientsChangeNothing: what they may not do does not leave this process.
func TestTheConsolesClientsChangeNothing(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	o := observedOf(p)
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "this client changes nothing, and") {
			t.Errorf("%s: %v", what, err)
		}
	}
	ctx := t.Context()
	_, err := o.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "x", TaskQueue: "x"}, "X")
	refused("start", err)
	refused("signal", o.client.SignalWorkflow(ctx, "x", "", "pause", nil))
	refused("cancel", o.client.CancelWorkflow(ctx, "x", ""))
	refused("terminate", o.client.TerminateWorkflow(ctx, "x", "", "why"))
	_, err = o.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: "x", UpdateName: "pause", WaitForStage: client.WorkflowUpdateStageAccepted})
	refused("update", err)
	if _, err := listRunning(ctx, o.client, "ProcessBatch"); err != nil {
		t.Errorf("what changes nothing: %v", err)
	}

	cfg := observing(localtest.AWS(t))
	name := localtest.Name(t, "")
	bucket := config.S3(cfg)
	_, err = bucket.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	refused("create a bucket", err)
	_, err = bucket.PutObject(ctx, &s3.PutObjectInput{Bucket: &name, Key: aws.String("k"), Body: strings.NewReader("v")})
	refused("put an object", err)
	_, err = bucket.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &name, Key: aws.String("k")})
	refused("delete an object", err)
	_, err = sqs.NewFromConfig(cfg).ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String("http://127.0.0.1/q")})
	refused("receive a message", err)
	if _, err := bucket.ListBuckets(ctx, &s3.ListBucketsInput{}); err != nil {
		t.Errorf("what changes nothing: %v", err)
	}
}

func TestAddressOfTemporalsUIIsDerivedWhereItIsKnown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ given, server, want string }{
		{"", "", "http://localhost:8233/namespaces/a%2Fb"},
		{"", "127.0.0.1:7233", "http://127.0.0.1:8233/namespaces/a%2Fb"},
		{"", "[::1]:7000", "http://[::1]:8000/namespaces/a%2Fb"},
		{"", "ns.acct.tmprl.cloud:7233", "https://cloud.temporal.io/namespaces/a%2Fb"},
		{"", "temporal.example:7233", ""},
		{"", "nonsense", ""},
		{"https://ui.example/", "temporal.example:7233", "https://ui.example/namespaces/a%2Fb"},
	} {
		if got := temporalUI(c.given, c.server, "a/b"); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.given, c.server, got, c.want)
		}
	}
}

// TestLetterGroupsHaveACommandThatMeansThem: one for all records whose error is of a type.
func TestLetterGroupsHaveACommandThatMeansThem(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	group := func(kind, reason string, records int, after time.Duration, keys ...string) deadGroup {
		return deadGroup{Error: kind, Reason: reason, Records: records, Tenants: []string{"t" + reason}, First: at.Add(after), Last: at.Add(after), Keys: keys}
	}
	held := group("mapper_parsing_exception", "c", 9, 0, "k9")
	held.Held = true
	got := letterGroups([]deadGroup{
		group("mapper_parsing_exception", "a", 2, time.Hour, "k1", "k2"), group("mapper_parsing_exception", "b", 3, 0, "k2", "k3"),
		group(outcome.TypePossibleLoss, "", 1, 0, "k4"), group("it's odd", strings.Repeat("x", 10_000), 1, 0, "k5"), held,
	})
	if len(got) != 4 || !got[0].Held || got[0].Command != "" {
		t.Fatalf("the groups are %+v", got)
	}
	g := got[1]
	if g.Records != 5 || g.Entries != 3 || len(g.Reasons) != 2 || len(g.Tenants) != 2 || !g.First.Equal(at) || !g.Last.Equal(at.Add(time.Hour)) {
		t.Errorf("the first is %+v", g)
	}
	parser, err := kong.New(&commands{}, options()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(strings.Fields(g.Command)[1:]); err != nil || g.Command != "starter dlq reprocess --error-type mapper_parsing_exception --wait" {
		t.Errorf("its command is %s: %v", g.Command, err)
	}
	for _, g := range got[2:] {
		switch {
		case g.Error == outcome.TypePossibleLoss && g.Command != "":
			t.Errorf("a loss is indexed again by %s", g.Command)
		case g.Error == "it's odd" && (g.Command != `starter dlq reprocess --error-type 'it'\''s odd' --wait` || len(g.Reasons[0]) > longestDetail+3):
			t.Errorf("an odd one is %+v", g)
		}
	}
}
