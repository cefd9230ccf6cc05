package recovery

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"

	"millrace/activities/recovery"
	"millrace/test/kit/poll"
	"millrace/workflows"
)

// callFor is short enough for a recovery to need several calls, and long enough
// for a busy machine to begin one: a call that ends before its first object
// makes no progress.
const callFor = 5 * time.Second

// begin starts a recovery of the pipeline's own indices.
func (p *pipeline) begin(in workflows.RecoverInput) client.WorkflowRun {
	p.t.Helper()
	if in.Indices == nil {
		in.Indices = []string{p.indices + "*"}
	}
	if in.CallFor == 0 {
		in.CallFor = callFor
	}
	run, err := p.client.ExecuteWorkflow(p.t.Context(), client.StartWorkflowOptions{
		ID: workflows.RecoverID, TaskQueue: workflows.RecoverQueue, WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflows.Recover, in)
	p.must(err)
	return run
}

// replay starts a replay.
func (p *pipeline) replay(name string, in workflows.RecoverInput) client.WorkflowRun {
	p.t.Helper()
	run, err := p.client.ExecuteWorkflow(p.t.Context(), client.StartWorkflowOptions{ID: workflows.ReplayID(name), TaskQueue: workflows.RecoverQueue}, workflows.Replay, in)
	p.must(err)
	return run
}

var record = flag.String("record", "", "record the histories of the runs under this name, for the tests of package workflows")

// stackTrace is the member of a failure that names files of this machine.
var stackTrace = regexp.MustCompile(`"stackTrace": *"(?:[^"\\]|\\.)*"`)

// keep records the history of a run for workflows.TestHistoriesReplay.
func (p *pipeline) keep(run client.WorkflowRun, name string) {
	p.t.Helper()
	if *record == "" {
		return
	}
	var all history.History
	for events := p.client.GetWorkflowHistory(p.t.Context(), run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		p.must(err)
		all.Events = append(all.Events, event)
	}
	text, err := protojson.MarshalOptions{Indent: " "}.Marshal(&all)
	p.must(err)
	text = stackTrace.ReplaceAll(text, []byte(`"stackTrace": ""`))
	p.must(os.WriteFile(filepath.Join("..", "..", "workflows", "testdata", "history", name+"_"+*record+".json"), text, 0o644))
}

func (p *pipeline) result(run client.WorkflowRun) recovery.RecoverResult {
	p.t.Helper()
	var result recovery.RecoverResult
	ended := make(chan error, 1)
	go func() { ended <- run.Get(p.t.Context(), &result) }()
	var progress workflows.RecoverProgress
	said := time.Now()
	if err := poll.While(p.t.Context(), 200*time.Millisecond, patience, func() (string, bool, error) {
		select {
		case err := <-ended:
			return "", true, err
		default:
		}
		if now, err := p.launcher.RecoverProgress(p.t.Context(), run.GetID()); err == nil {
			progress = now
		}
		state := fmt.Sprintf("%s %s: %d objects, %d records; %+v", progress.Stage, progress.State, progress.ObjectsDone, progress.RecordsDone, progress.Restore)
		if time.Since(said) > time.Minute { // who watches learns that it moves
			said = time.Now()
			p.t.Log(state)
		}
		return state, false, nil
	}); err != nil {
		p.t.Fatalf("the recovery ended with %v, its progress is %+v", err, progress)
	}
	return result
}
