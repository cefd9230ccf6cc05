package docs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/process"
	"millrace/activities/recovery"
	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/internal/indexing"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
	"millrace/test/kit/poll"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// TestDocumentedCommandsRun runs every command of temporal and tctl that the documents have, as an operator would who
// copies it, against a real server with the real workflows. What their activities would do is made up: each works until
// it is stopped.
func TestDocumentedCommandsRun(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"temporal", "tctl"} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			commands := documentedCommands(t, tool)
			if len(commands) < 30 {
				t.Fatalf("the documents have %d commands of %s: they are written in another form", len(commands), tool)
			}
			d, failed := newDesk(t), 0
			for _, command := range commands {
				if err := d.run(command); err != nil {
					t.Errorf("%s\n%v", command, err)
					failed++
				}
			}
			t.Logf("%d commands of %s, %d failed", len(commands), tool, failed)
		})
	}
}

var (
	// A command stands on a line of its own, maybe with a comment, or in a sentence.
	lineOf    = regexp.MustCompile("(?m)^ {4,}((?:temporal|tctl) .*)$")
	inline    = regexp.MustCompile("`((?:temporal|tctl)\\s[^`]+)`")
	comment   = regexp.MustCompile(`\s+# .*$`)
	namesID   = regexp.MustCompile(`--workflow[-_]id (\S+)`)
	namesPlan = regexp.MustCompile(`--schedule-id (\S+)`)
)

// documentedCommands returns the commands of a tool, those of commands.md first, which explains its variables.
func documentedCommands(t *testing.T, tool string) (all []string) {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append([]string{"commands.md", filepath.Join("..", "README.md")}, files...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, pattern := range []*regexp.Regexp{lineOf, inline} {
			for _, found := range pattern.FindAllStringSubmatch(string(text), -1) {
				command := comment.ReplaceAllString(strings.Join(strings.Fields(found[1]), " "), "")
				if strings.HasPrefix(command, tool+" ") && !slices.Contains(all, command) {
					all = append(all, command)
				}
			}
		}
	}
	return all
}

// desk is where an operator works: a namespace with workers, a shell, and what its variables mean.
type desk struct {
	t      *testing.T
	client client.Client
	env    map[string]string
	path   string
	// start is the documented command that starts a workflow, or makes a schedule, of an id.
	start map[string]string
	batch string
}

// busy is how a server that others keep busy refuses a command, which did nothing then.
const busy = "Workflow is busy"

const (
	deskStream = "millrace-telemetry-stream"
	deskShard  = "shardId-000000000003"
)

var deskRange = telemetry.Range{StreamCreated: time.Unix(1_795_435_836, 0).UTC(), Shard: deskShard, First: "1", Last: "10", Count: 10}

func newDesk(t *testing.T) *desk {
	t.Helper()
	options := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	d := &desk{
		t: t, client: localtest.TemporalClient(t, options), start: map[string]string{}, batch: workflows.ProcessBatchID(deskStream, deskRange),
		path: filepath.Dir(localtest.TemporalCLI(t)) + string(os.PathListSeparator) + filepath.Dir(tctl(t)),
		env: map[string]string{
			"S": deskStream, "Q": "millrace-telemetry-queue", "D": "millrace-telemetry-dlq", "BUCKET": "millrace-telemetry",
			"SHARD":            workflows.ProcessShardID(deskStream, deskRange.StreamCreated, deskShard),
			"TEMPORAL_ADDRESS": options.HostPort, "TEMPORAL_NAMESPACE": options.Namespace,
			"TEMPORAL_CLI_ADDRESS": options.HostPort, "TEMPORAL_CLI_NAMESPACE": options.Namespace,
			"TEMPORAL_CONTEXT_TIMEOUT": "60", // of tctl, in seconds, beside other tests
			"HOME":                     t.TempDir(),
		},
	}
	for _, command := range documentedCommands(t, "temporal") {
		switch {
		case strings.HasPrefix(command, "temporal workflow start "):
			d.start[d.named(namesID, command)] = command
		case strings.HasPrefix(command, "temporal schedule create "):
			d.start["schedule "+d.named(namesPlan, command)] = command
		}
	}
	for _, queue := range []string{
		workflows.IngestQueue, workflows.RedriveQueue, workflows.ProcessQueue, workflows.RangeQueue, workflows.IndexQueue, workflows.BackupQueue,
		workflows.CopyQueue, workflows.DeadQueue, workflows.RecoverQueue, workflows.SweepQueue, workflows.SnapshotQueue, workflows.CanaryQueue,
	} {
		d.work(queue, worker.Options{})
	}
	for _, build := range []string{"1.3.0", "1.4.0"} { // those that upgrading.md names
		d.work("versions of millrace", worker.Options{DeploymentOptions: worker.DeploymentOptions{
			UseVersioning: true, Version: worker.WorkerDeploymentVersion{DeploymentName: "millrace", BuildID: build},
			DefaultVersioningBehavior: workflow.VersioningBehaviorAutoUpgrade,
		}})
	}
	return d
}

// work runs a worker of a task queue.
func (d *desk) work(queue string, options worker.Options) {
	options.MaxHeartbeatThrottleInterval, options.Interceptors = 50*time.Millisecond, []interceptor.WorkerInterceptor{&longcall.Yield{}}
	w := worker.New(d.client, queue, options)
	for _, function := range []any{
		workflows.IngestBatch, workflows.Reconcile, workflows.Redrive, workflows.ProcessStream, workflows.ProcessShard, workflows.ProcessBatch,
		workflows.BackupStream, workflows.BackupShard, workflows.KeepDeadLetters, workflows.ReprocessDeadLetters, workflows.DrainIndex,
		workflows.Recover, workflows.Replay, workflows.DrillRecovery, workflows.AuditBackup, workflows.SnapshotIndex, workflows.EnforceRetention,
		workflows.Canary,
	} {
		w.RegisterWorkflow(function)
	}
	for _, short := range []string{"CommandShards", "ReleaseShards", "ConcludeRecovery"} {
		w.RegisterActivityWithOptions(func(context.Context) error { return nil }, activity.RegisterOptions{Name: short})
	}
	w.RegisterActivityWithOptions(func(context.Context) (int, error) { return 0, nil }, activity.RegisterOptions{Name: string(recovery.EndDrill)})
	refuse := func(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
		return process.RangeResult{Left: []process.LeftRange{{Range: in.Range, Cause: outcome.Error{Type: "odd", Reason: "made up"}}}}, nil
	}
	w.RegisterActivityWithOptions(refuse, activity.RegisterOptions{Name: "IndexRange"})
	bury := func(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
		return process.RangeResult{Counts: indexing.Counts{Records: int64(in.Range.Count), DeadLetters: int64(in.Range.Count)}}, nil
	}
	w.RegisterActivityWithOptions(bury, activity.RegisterOptions{Name: "BuryRange"})
	w.RegisterDynamicActivity(untilStopped, activity.DynamicRegisterOptions{})
	if err := w.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(w.Stop)
}

// untilStopped is any other activity.
func untilStopped(ctx context.Context, _ converter.EncodedValues) (any, error) {
	for {
		activity.RecordHeartbeat(ctx)
		select {
		case <-ctx.Done():
			return map[string]any{}, nil
		case <-activity.GetWorkerStopChannel(ctx):
			return nil, context.Canceled
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// commandWithin bounds a command and what it sets off, beside all other tests.
const commandWithin = 5 * time.Minute

// run runs a command in the state that it is for, and ensures that it has done what its name says.
func (d *desk) run(command string) error {
	ctx, cancel := context.WithTimeout(d.t.Context(), commandWithin)
	defer cancel()
	command = strings.NewReplacer("batch/…", d.batch, `"first":"F","last":"L"`, `"first":"1","last":"10"`, "'…'", `'MillraceState="waiting"'`,
		"2026-11-24T00:00:00Z", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)).Replace(command)
	words := strings.Fields(command)
	id, plan := d.named(namesID, command), d.named(namesPlan, command)
	switch {
	case plan != "" && words[2] == "create":
		_ = d.client.ScheduleClient().GetHandle(ctx, plan).Delete(ctx)
		d.t.Cleanup(func() { // else the server would start its runs for as long as it lives
			_ = d.client.ScheduleClient().GetHandle(context.WithoutCancel(ctx), plan).Delete(context.WithoutCancel(ctx))
		})
	case plan != "":
		if err := d.ensurePlan(ctx, plan); err != nil {
			return err
		}
	case words[2] == "start" && id != "":
		if err := d.end(ctx, id); err != nil {
			return err
		}
	case id != "":
		if err := d.ensure(ctx, id); err != nil {
			return err
		}
		if words[1] == "activity" {
			pending, err := d.pending(ctx, id)
			if err != nil {
				return err
			}
			command = strings.Replace(command, "--activity-id 6", "--activity-id "+pending, 1)
		}
	}
	var output string
	var failed error
	err := poll.Until(ctx, func() (bool, error) {
		output, failed = d.shell(ctx, command)
		return !strings.Contains(output, busy), nil
	})
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	if words[2] == "pause" { // Temporal's own, which nothing here resumes
		return d.end(ctx, id)
	}
	if words[2] == "cancel" && id != "" {
		return poll.Every(ctx, 20*time.Millisecond, func() (bool, error) { return !d.runs(ctx, id), nil })
	}
	if !strings.Contains(command, "--name pause") || id == "" {
		return nil
	}
	defer func() { _ = d.end(context.WithoutCancel(ctx), id) }()
	return poll.Every(ctx, 50*time.Millisecond, func() (bool, error) {
		answer, err := d.client.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
		if err != nil {
			return false, fmt.Errorf("query the state after a pause: %w", err)
		}
		var raw json.RawMessage
		if err := answer.Get(&raw); err != nil {
			return false, fmt.Errorf("read the state after a pause: %w", err)
		}
		return strings.Contains(string(raw), `"`+control.StatePaused+`"`) || strings.Contains(string(raw), `"holds":[{`), nil
	})
}

// named is what a command names, with the variables filled in.
func (d *desk) named(pattern *regexp.Regexp, command string) string {
	found := pattern.FindStringSubmatch(command)
	if found == nil {
		return ""
	}
	return os.Expand(found[1], func(name string) string { return d.env[name] })
}

func (d *desk) shell(ctx context.Context, command string) (output string, err error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = []string{"PATH=" + d.path + string(os.PathListSeparator) + os.Getenv("PATH")}
	for name, value := range d.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func (d *desk) runs(ctx context.Context, id string) bool {
	described, err := d.client.DescribeWorkflowExecution(ctx, id, "")
	return err == nil && launch.IsOpen(described.GetWorkflowExecutionInfo().GetStatus())
}

// end ends a workflow, so that it can be started.
func (d *desk) end(ctx context.Context, id string) error {
	var notFound *serviceerror.NotFound
	if err := d.client.TerminateWorkflow(ctx, id, "", "the test begins anew"); err != nil && !errors.As(err, &notFound) {
		return fmt.Errorf("end %s: %w", id, err)
	}
	return poll.Every(ctx, 20*time.Millisecond, func() (bool, error) { return !d.runs(ctx, id), nil })
}

// ensure starts a workflow that does not run, and waits until it has begun its work.
func (d *desk) ensure(ctx context.Context, id string) error {
	if d.runs(ctx, id) {
		return nil
	}
	options := client.StartWorkflowOptions{ID: id, TaskQueue: workflows.ProcessQueue}
	var err error
	switch {
	case id == d.batch:
		_, err = d.client.ExecuteWorkflow(ctx, options, workflows.ProcessBatch, workflows.BatchInput{Stream: telemetry.StreamID{Name: deskStream}, Range: deskRange})
	case id == d.env["SHARD"]:
		_, err = d.client.ExecuteWorkflow(ctx, options, workflows.ProcessShard, workflows.ShardInput{
			Stream: telemetry.StreamID{Name: deskStream, Created: deskRange.StreamCreated}, Shard: deskShard,
		})
	case d.start[id] == "":
		return fmt.Errorf("no document says how to start %s", id)
	default:
		var output string
		if output, err = d.shell(ctx, d.start[id]); err != nil {
			err = fmt.Errorf("%w\n%s", err, output)
		}
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return poll.Every(ctx, 20*time.Millisecond, func() (bool, error) {
		_, err := d.client.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
		return err == nil, nil
	})
}

func (d *desk) ensurePlan(ctx context.Context, plan string) error {
	if _, err := d.client.ScheduleClient().GetHandle(ctx, plan).Describe(ctx); err == nil {
		return nil
	}
	if output, err := d.shell(ctx, d.start["schedule "+plan]); err != nil {
		return fmt.Errorf("make the schedule %s: %w\n%s", plan, err, output)
	}
	return nil
}

// pending waits for an activity of a workflow, and returns its id.
func (d *desk) pending(ctx context.Context, id string) (found string, err error) {
	err = poll.Every(ctx, 20*time.Millisecond, func() (bool, error) {
		described, err := d.client.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			return false, fmt.Errorf("describe %s: %w", id, err)
		}
		for _, pending := range described.GetPendingActivities() {
			found = pending.GetActivityId()
		}
		return found != "", nil
	})
	return found, err
}

// tctl builds tctl once, and returns its path. It has a module of its own, with a Temporal server from 2022.
func tctl(t *testing.T) string {
	t.Helper()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, ".local", "bin", "tctl")
	err = local.BuildTool(t.Context(), filepath.Join(root, "tools", "tctl"), local.Program{Path: path, Source: "github.com/temporalio/tctl/cmd/tctl"}, local.Quickly()...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
