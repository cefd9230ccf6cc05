package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/taskqueue/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"millrace/deploy/local/localtest"
	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/internal/snapshot"
	"millrace/workflows"
)

// olderServer is a Temporal of another version.
type olderServer struct {
	workflowservice.UnimplementedWorkflowServiceServer
	version string
}

func (s olderServer) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{ServerVersion: s.version}, nil
}

func ofVersion(version string) func(*ward) {
	return func(w *ward) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		server := grpc.NewServer()
		workflowservice.RegisterWorkflowServiceServer(server, olderServer{version: version})
		go func() { _ = server.Serve(listener) }()
		w.t.Cleanup(server.Stop)
		w.temporal.get = func(context.Context) (client.Client, error) {
			return localtest.TemporalClient(w.t, client.Options{HostPort: listener.Addr().String()}), nil
		}
	}
}

// TestDoctorOfTemporal sees each check find what is right and what is wrong.
func TestDoctorOfTemporal(t *testing.T) {
	t.Parallel()
	away := func(w *ward) {
		w.temporal.get = func(context.Context) (client.Client, error) { return nil, errors.New("away") }
	}
	stage := func(state string) client.StartWorkflowOptions {
		return client.StartWorkflowOptions{TypedSearchAttributes: temporal.NewSearchAttributes(workflows.State.ValueSet(state), workflows.Shard.ValueSet("shardId-000000000000"))}
	}
	with := func(prepare func(w *ward)) func(w *ward) {
		return func(w *ward) {
			w.inTemporal(workflows.SearchAttributes...)
			prepare(w)
		}
	}
	process := func(w *ward) string { return workflows.ProcessStreamID(w.names.Stream) }
	shard := func(w *ward, family string) string { return family + w.names.Stream + "/1/shardId-000000000000" }
	ended := func(w *ward, id string) {
		if err := w.connected.TerminateWorkflow(w.t.Context(), id, "", "for a test"); err != nil {
			w.t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		prepare     func(w *ward)
		check, want string
		texts       []string
	}{
		"a server":            {with(func(*ward) {}), "temporal server", checkOK, []string{"version 1."}},
		"away":                {away, "temporal server", checkFails, []string{"away", helpServer}},
		"too old":             {ofVersion("1.24.2"), "temporal server", checkFails, []string{"version 1.24.2", "upgrade the server to 1.25"}},
		"what needs it":       {away, "temporal namespace", checkSkipped, []string{"temporal server, which failed above"}},
		"a namespace":         {with(func(*ward) {}), "temporal namespace", checkOK, []string{"for 24h0m0s"}},
		"no namespace":        {with(func(w *ward) { w.namespace = "nowhere" }), "temporal namespace", checkFails, []string{"there is no namespace nowhere"}},
		"a short namespace":   {with(shorter), "temporal namespace", checkFails, []string{"keeps closed workflows for 1h0m0s", "temporal operator namespace update --namespace"}},
		"search attributes":   {with(func(*ward) {}), "temporal search attributes", checkOK, []string{"MillraceShard"}},
		"no search attribute": {func(w *ward) { w.inTemporal(workflows.SearchAttributes[1:]...) }, "temporal search attributes", checkFails, []string{"missing: MillraceStage", "starter setup"}},

		"a worker":              {with(func(w *ward) { w.polls(workflows.RangeQueue, worker.Options{}) }), "task queues millrace-range", checkOK, []string{"pollers: 1"}},
		"no worker":             {with(func(*ward) {}), "task queues millrace-range", checkFails, []string{"no worker polls it", "--queues range"}},
		"files need no recover": {with(func(w *ward) { w.Sink.Kind = config.SinkFile }), "task queues millrace-sweep", checkSkipped, []string{"--sink file"}},
		"no versions":           {with(func(w *ward) { w.polls(workflows.ProcessQueue, worker.Options{}) }), "task queues worker versions", checkSkipped, []string{"--build-id"}},
		"no current version":    {with(func(w *ward) { w.polls(workflows.ProcessQueue, ofBuild("1.4.0")) }), "task queues worker versions", checkFails, []string{"no workflow starts", "set-current-version --deployment-name millrace --build-id 1.4.0"}},
		"a current version":     {with(func(w *ward) { w.polls(workflows.ProcessQueue, ofBuild("1.4.0")); makeCurrent(w, "1.4.0") }), "task queues worker versions", checkOK, []string{"1.4.0 is current"}},
		"a version":             {with(func(w *ward) { w.polls(workflows.ProcessQueue, ofBuild("1.4.0")) }), "task queues millrace-process", checkOK, []string{"pollers: 1, of version 1.4.0"}},
		"the time of Temporal":  {with(func(w *ward) { w.polls(workflows.ProcessQueue, worker.Options{}) }), "clocks temporal", checkOK, []string{"within 30s"}},
		"no time of Temporal":   {with(func(*ward) {}), "clocks temporal", checkSkipped, []string{"none polls"}},

		"it runs":            {with(func(w *ward) { w.starts(process(w), "ProcessStream", stage(control.StateRunning)) }), "workflows ProcessStream", checkOK, []string{"runs, since"}},
		"it never ran":       {with(func(*ward) {}), "workflows ProcessStream", checkFails, []string{"was never started", "starter process start"}},
		"it was terminated":  {with(func(w *ward) { w.starts(process(w), "ProcessStream", stage("")); ended(w, process(w)) }), "workflows ProcessStream", checkFails, []string{"its last run is terminated", "starter process start"}},
		"it is paused":       {with(func(w *ward) { w.starts(process(w), "ProcessStream", stage(control.StatePaused)) }), "workflows ProcessStream", checkWarns, []string{"is paused", "starter stream resume"}},
		"paused in Temporal": {with(func(w *ward) { w.starts(process(w), "ProcessStream", stage("")); pauseInTemporal(w, process(w)) }), "workflows ProcessStream", checkWarns, []string{"is paused in Temporal", "temporal workflow unpause"}},
		"no redrive":         {with(func(*ward) {}), "workflows Redrive", checkFails, []string{"starter redrive start"}},
		"no keeper":          {with(func(*ward) {}), "workflows KeepDeadLetters", checkFails, []string{"starter letters start"}},
		"no reconcile":       {with(func(*ward) {}), "workflows Reconcile", checkFails, []string{"restart a worker"}},
		"no backup":          {with(func(*ward) {}), "workflows BackupStream", checkWarns, []string{"unless a Firehose", "starter backup start"}},
		"a shard": {with(func(w *ward) {
			w.starts(shard(w, "process/"), "ProcessShard", stage(control.StateRunning))
			w.listed("ProcessShard")
		}), "workflows ProcessShard", checkOK, []string{"running: 1"}},
		"a shard waits": {with(func(w *ward) {
			w.starts(shard(w, "process/"), "ProcessShard", stage(control.StateWaiting))
			w.listed("ProcessShard")
		}), "workflows ProcessShard", checkWarns, []string{"shardId-000000000000 is waiting; running: 1", "starter shards"}},
		"a shard of another": {with(func(w *ward) {
			w.starts("process/other/1/a", "ProcessShard", stage(control.StateWaiting))
			w.listed("ProcessShard")
		}), "workflows ProcessShard", checkSkipped, nil},
		"a backup is paused": {with(func(w *ward) {
			w.starts(shard(w, "backup/"), "BackupShard", stage(control.StatePaused))
			w.listed("BackupShard")
		}), "workflows BackupShard", checkWarns, []string{"is paused", "starter backup status"}},

		"a batch": {with(func(w *ward) { w.starts("batch/s/1/2/3-4", "ProcessBatch", stage("")); w.listed("ProcessBatch") }), "records batches", checkOK, []string{"ranges in doubt: 1"}},
		"a stuck batch": {with(func(w *ward) {
			w.starts("batch/s/1/2/3-4", "ProcessBatch", stage(""))
			w.listed("ProcessBatch")
			pauseInTemporal(w, "batch/s/1/2/3-4")
		}), "records batches", checkWarns, []string{"1 of 1 ranges", "starter batch show batch/s/1/2/3-4"}},
		"no batch waits": {with(func(*ward) {}), "records batches of collectors", checkOK, []string{"none waits"}},
		"a batch waits": {with(func(w *ward) {
			w.starts("ingest/1", "IngestBatch", stage(control.StateWaiting))
			w.listed("IngestBatch")
		}), "records batches of collectors", checkWarns, []string{"1 wait", "the fallback queue above"}},

		"no schedule":          {with(func(*ward) {}), "schedules snapshots", checkWarns, []string{"there is no schedule snapshot/millrace", "starter snapshot schedule"}},
		"no retention":         {with(func(*ward) {}), "schedules retention", checkWarns, []string{"starter retention schedule --days"}},
		"no audits":            {with(func(*ward) {}), "schedules audits", checkWarns, []string{"starter audit schedule"}},
		"no drills":            {with(func(*ward) {}), "schedules drills", checkWarns, []string{"starter drill schedule"}},
		"no canary":            {with(func(*ward) {}), "schedules canary", checkWarns, []string{"there is no schedule canary/", "starter canary schedule"}},
		"a canary":             {with(func(w *ward) { schedulesCanary(w) }), "schedules canary", checkOK, []string{"every 1h0m0s; it has not run yet"}},
		"a canary that fails":  {with(func(w *ward) { schedulesCanary(w); timesOut(w) }), "schedules canary", checkWarns, []string{"its last run, canary/", "ended as TimedOut", "starter canary status"}},
		"no canary's worker":   {with(func(*ward) {}), "task queues millrace-canary", checkSkipped, []string{"--canary-urls"}},
		"a schedule":           {with(func(w *ward) { schedules(w, client.ScheduleOptions{}) }), "schedules snapshots", checkOK, []string{"every 1h0m0s; it has not run yet"}},
		"a paused schedule":    {with(func(w *ward) { schedules(w, client.ScheduleOptions{Paused: true, Note: "upgrade\x1b[2J"}) }), "schedules snapshots", checkWarns, []string{"is paused: upgrade", "temporal schedule toggle --unpause"}},
		"a failed run":         {with(func(w *ward) { schedules(w, client.ScheduleOptions{TriggerImmediately: true}); failRun(w) }), "schedules snapshots", checkWarns, []string{"ended as Terminated", "temporal workflow describe --workflow-id snapshot/millrace"}},
		"no snapshots at all":  {with(func(w *ward) { w.installed() }), "schedules last snapshot", checkSkipped, []string{"no schedule"}},
		"the first is to come": {with(func(w *ward) { w.installed(); schedules(w, client.ScheduleOptions{}) }), "schedules last snapshot", checkOK, []string{"the first is to come"}},
		"no word of schedules": {func(w *ward) { w.installed(); ofVersion("1.31.0")(w) }, "schedules last snapshot", checkFails, []string{"describe schedule snapshot/millrace"}},
		"a snapshot":           {with(func(w *ward) { w.installed(); schedules(w, client.ScheduleOptions{}); takes(w, time.Minute) }), "schedules last snapshot", checkOK, []string{"telemetry-1 is 1m"}},
		"an old snapshot":      {with(func(w *ward) { w.installed(); schedules(w, client.ScheduleOptions{}); takes(w, 3*time.Hour) }), "schedules last snapshot", checkWarns, []string{"telemetry-1, is 3h", "starter snapshot list"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			c.prepare(w)
			w.finds(c.check, c.want, c.texts...)
		})
	}
}

// shorter makes the namespace keep closed workflows for an hour.
func shorter(w *ward) {
	w.t.Helper()
	_, err := w.connected.WorkflowService().UpdateNamespace(w.t.Context(), &workflowservice.UpdateNamespaceRequest{
		Namespace: w.namespace, Config: &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(time.Hour)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func ofBuild(build string) worker.Options {
	return worker.Options{DeploymentOptions: worker.DeploymentOptions{
		UseVersioning: true, Version: worker.WorkerDeploymentVersion{DeploymentName: config.Deployment, BuildID: build},
	}}
}

func makeCurrent(w *ward, build string) {
	w.t.Helper()
	await(w.t, "the version to be current", func() bool {
		_, err := w.connected.WorkerDeploymentClient().GetHandle(config.Deployment).SetCurrentVersion(w.t.Context(), client.WorkerDeploymentSetCurrentVersionOptions{BuildID: build})
		return err == nil
	})
}

func pauseInTemporal(w *ward, id string) {
	w.t.Helper()
	_, err := w.connected.WorkflowService().PauseWorkflowExecution(w.t.Context(), &workflowservice.PauseWorkflowExecutionRequest{
		Namespace: w.namespace, WorkflowId: id, Identity: "ada", Reason: "a test",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	await(w.t, "the pause of "+id+" to be listed", func() bool {
		listed, err := w.connected.CountWorkflow(w.t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Namespace: w.namespace, Query: "ExecutionStatus = 'Paused'"})
		return err == nil && listed.GetCount() > 0
	})
}

// schedules makes a schedule of snapshots that no worker takes.
func schedules(w *ward, options client.ScheduleOptions) {
	w.t.Helper()
	options.ID = w.snapshots().id
	options.Spec = client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}}
	options.Action = &client.ScheduleWorkflowAction{ID: options.ID, Workflow: "SnapshotIndex", TaskQueue: "no-worker"}
	if _, err := w.connected.ScheduleClient().Create(w.t.Context(), options); err != nil {
		w.t.Fatal(err)
	}
	await(w.t, "the schedule to be described", func() bool { // by a worker of the server, which must start for the new namespace
		_, err := w.connected.ScheduleClient().GetHandle(w.t.Context(), options.ID).Describe(w.t.Context())
		return err == nil
	})
}

// schedulesCanary makes a schedule of the canary.
func schedulesCanary(w *ward) {
	w.t.Helper()
	if _, err := canaries(w.connected, w.names.Stream, workflows.CanaryInput{}).set(w.t.Context(), time.Hour, workflows.Canary, workflows.CanaryInput{}); err != nil {
		w.t.Fatal(err)
	}
}

// timesOut ends a run of the canary that no worker takes.
func timesOut(w *ward) {
	w.t.Helper()
	id := workflows.CanaryID(w.names.Stream)
	w.starts(id, "Canary", client.StartWorkflowOptions{WorkflowRunTimeout: time.Second})
	await(w.t, "the end of "+id+" to be listed", func() bool {
		last, err := lastCanary(w.t.Context(), w.connected, id)
		return err == nil && last != nil
	})
}

// failRun ends the run that the schedule has started.
func failRun(w *ward) {
	w.t.Helper()
	await(w.t, "the schedule to run", func() bool {
		described, err := w.connected.ScheduleClient().GetHandle(w.t.Context(), w.snapshots().id).Describe(w.t.Context())
		if err != nil || len(described.Info.RecentActions) == 0 {
			return false
		}
		run := described.Info.RecentActions[0].StartWorkflowResult
		return run != nil && w.connected.TerminateWorkflow(w.t.Context(), run.WorkflowID, "", "for a test") == nil
	})
}

// takes records a good snapshot of that age.
func takes(w *ward, age time.Duration) {
	w.t.Helper()
	err := snapshot.Open(w.bucketOf(), w.Repository.Name).Put(w.t.Context(), snapshot.Record{
		Name: "telemetry-1", Repository: w.Repository.Name, Started: time.Now().Add(-age), Ended: time.Now(), State: snapshot.Success,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestDoctorSeesFailingActivity: one that a killed worker leaves is no failure yet, and a workflow whose
// activity fails again and again does nothing.
func TestDoctorSeesFailingActivity(t *testing.T) {
	t.Parallel()
	w := newWard(t).inTemporal(workflows.SearchAttributes...)
	id := workflows.RedriveID(w.names.Queue)
	failing := worker.New(w.connected, "failing", worker.Options{})
	failing.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond, MaximumInterval: 10 * time.Millisecond},
		})
		return workflow.ExecuteActivity(ctx, "Redriving").Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "Redrive"})
	failing.RegisterActivityWithOptions(func(context.Context) error { return errors.New("redrive queue a: this worker knows b") }, activity.RegisterOptions{Name: "Redriving"})
	if err := failing.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(failing.Stop)
	if _, err := w.connected.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "failing"}, "Redrive"); err != nil {
		t.Fatal(err)
	}
	await(t, "the activity to fail", func() bool {
		described, err := w.connected.DescribeWorkflowExecution(t.Context(), id, "")
		return err == nil && len(described.GetPendingActivities()) > 0 && described.GetPendingActivities()[0].GetAttempt() > failingAttempts
	})
	w.finds("workflows Redrive", checkFails, "Redriving fails, ", "this worker knows b", "temporal workflow describe --workflow-id "+id)

	pending := &workflowpb.PendingActivityInfo{ActivityType: &commonpb.ActivityType{Name: "Redriving"}, Attempt: 2, LastFailure: &failurepb.Failure{Message: "heartbeat timeout"}}
	if v, wrong := stumbles(id, pending); !wrong || v.Status != checkWarns {
		t.Errorf("after one failure: %+v", v)
	}
	if _, wrong := stumbles(id, &workflowpb.PendingActivityInfo{Attempt: 1}); wrong {
		t.Error("an activity that runs is wrong")
	}
}

// TestDoctorComparesTheLag of shards with the stream's retention, and the stream with that of the workers.
func TestDoctorComparesTheLag(t *testing.T) {
	t.Parallel()
	p := started(t) // its shards were read until readUpTo, and no further
	examined := func(created time.Time, kept time.Duration) *ward {
		w := newWard(t)
		w.names.Stream, w.namespace = p.stream.Name, p.namespace
		w.temporal.get = func(context.Context) (client.Client, error) { return asker{p.client, time.Minute}, nil }
		return w.at(func(answer http.ResponseWriter, r *http.Request) bool {
			if !target("DescribeStreamSummary")(r) {
				return false
			}
			answer.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_, _ = fmt.Fprintf(answer, `{"StreamDescriptionSummary":{"StreamName":%q,"StreamARN":"arn","StreamCreationTimestamp":%d,"RetentionPeriodHours":%d}}`,
				p.stream.Name, created.Unix(), int(kept.Hours()))
			return true
		})
	}
	lag := time.Since(readUpTo)
	for share, want := range map[time.Duration]string{5: checkOK, 60: checkWarns, 95: checkFails} { // percent of the retention
		texts := []string{"shardId-000000000", "behind"}
		if want != checkOK {
			texts = append(texts, "aws kinesis increase-stream-retention-period --stream-name "+p.stream.Name)
		}
		examined(p.stream.Created, 100*lag/share).finds("retention stream", want, texts...)
	}
	examined(p.stream.Created, lag).finds("aws stream of the workers", checkOK, "created at "+clock(p.stream.Created))
	examined(p.stream.Created.Add(time.Second), lag).finds("aws stream of the workers", checkFails, "they read a stream that was created at "+clock(p.stream.Created))

	w := newWard(t).installed().inTemporal(workflows.SearchAttributes...)
	w.finds("retention stream", checkSkipped, "it keeps records for 24h0m0s, and ProcessStream does not say")
	w.finds("aws stream of the workers", checkSkipped, "ProcessStream does not say which it reads")
}

// TestWorkersThatHaveGoneDoNotCount, although Temporal remembers them for minutes.
func TestWorkersThatHaveGoneDoNotCount(t *testing.T) {
	t.Parallel()
	now := time.Now()
	polled := func(ago time.Duration) *taskqueue.PollerInfo {
		return &taskqueue.PollerInfo{LastAccessTime: timestamppb.New(now.Add(-ago))}
	}
	if left := recentOf([]*taskqueue.PollerInfo{polled(0), polled(pollTime), polled(pollTime + time.Second), polled(4 * time.Minute)}, now); len(left) != 2 {
		t.Errorf("%d of them poll", len(left))
	}
}

func TestVersionsAreCompared(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"1.24.9": true, "1.25.0": false, "1.30.0": false, "0.99": true, "2.0.0": false, "1.9.0": true, "": false, "cloud": false,
	} {
		if got := older(version, "1.25"); got != want {
			t.Errorf("%s is older than 1.25: %v", version, got)
		}
	}
}
