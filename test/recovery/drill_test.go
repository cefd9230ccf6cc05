package recovery

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/recovery"
	"millrace/workflows"
)

// Tests of drills are not parallel: a drill removes whatever copies there are,
// since there is one at a time.

// backedUp is a world of which a part is in a snapshot, and all is in the
// backup, but for records that are in processing.
func backedUp(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.send("before", 600, 0)
	w.indexed()
	w.snapshot()
	w.send("after", 700, 2)
	w.indexed()
	w.backUp()
	return w
}

// drill runs a drill under an id such as a schedule gives it.
func (w *world) drill(in workflows.DrillInput) (client.WorkflowRun, workflows.DrillResult, error) {
	w.t.Helper()
	in.Indices = []string{w.indices + "*"}
	run, err := w.client.ExecuteWorkflow(w.t.Context(), client.StartWorkflowOptions{
		ID: workflows.DrillID + "-2026-11-24T09:00:00Z", TaskQueue: workflows.RecoverQueue,
	}, workflows.DrillRecovery, in)
	w.must(err)
	var result workflows.DrillResult
	return run, result, run.Get(w.t.Context(), &result)
}

// inner is the run of the drill itself.
func (w *world) inner() client.WorkflowRun {
	return w.client.GetWorkflow(w.t.Context(), workflows.DrillID, "")
}

// untouched asserts that nothing of a drill is left, and that nothing which was
// there was touched.
func (w *world) untouched(before map[string]string) {
	w.t.Helper()
	if after := w.uuids(); !maps.Equal(before, after) {
		w.t.Errorf("the indices were %v, and are %v", before, after)
	}
	if !w.running() {
		w.t.Error("shards do not go on")
	}
	w.complete()
}

func (w *world) uuids() map[string]string {
	uuids := map[string]string{}
	for name, state := range w.states() {
		uuids[name] = state.UUID
	}
	return uuids
}

// ended is how many drills of this process have ended so.
func ended(t *testing.T, result string) (n float64) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "millrace_drills_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == result {
				n += metric.GetCounter().GetValue()
			}
		}
	}
	return n
}

// failure is the type of what a drill failed with.
func failure(err error) string {
	var application *temporal.ApplicationError
	if !errors.As(err, &application) {
		return ""
	}
	return application.Type()
}

// TestADrillBringsEverythingBack: beside what is there, and nothing of it is
// left, nor of one that was terminated before.
func TestADrillBringsEverythingBack(t *testing.T) {
	w := backedUp(t)
	before, counted := w.uuids(), ended(t, recovery.DrillComplete)
	left := w.result(w.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Into: "drill-20261123t090000"}}))
	if copies := len(w.states()) - len(before); !left.Complete || copies != 2 {
		t.Fatalf("%d copies, %+v", copies, left)
	}
	run, result, err := w.drill(workflows.DrillInput{})
	if err != nil || !result.Complete || result.Restored != 2 || result.Live.Documents != 1300 || result.Live.Indices != 2 || result.Live.Removed != 2 ||
		result.Removed != 2 || result.Snapshot != "snap" || result.Backfill.Indexed != 700 || len(result.Missing) > 0 {
		t.Errorf("%v, %+v", err, result)
	}
	if ended(t, recovery.DrillComplete) != counted+1 {
		t.Error("it is not counted")
	}
	w.untouched(before)
	w.keep(run, "drill_scheduled")
	w.keep(w.inner(), "drill_complete")

	alone, fromBackup, err := w.drill(workflows.DrillInput{NoSnapshot: true})
	if err != nil || !fromBackup.Complete || fromBackup.Restored != 0 || fromBackup.Backfill.Indexed != 1300 || fromBackup.Snapshot != "" {
		t.Errorf("%s from the backup alone: %v, %+v", alone.GetID(), err, fromBackup)
	}
	w.untouched(before)
}

// TestADrillFindsWhatNothingHas: an object of the backup is gone. The recovery
// says that the chain is broken, and the drill in which indices documents lack.
func TestADrillFindsWhatNothingHas(t *testing.T) {
	w := backedUp(t)
	before, counted := w.uuids(), ended(t, recovery.DrillIncomplete)
	objects := w.objects()
	w.must(w.Bucket.Delete(t.Context(), objects[len(objects)/2].Key))
	_, _, err := w.drill(workflows.DrillInput{NoSnapshot: true})
	var application *temporal.ApplicationError
	var result workflows.DrillResult
	if !errors.As(err, &application) || application.Type() != workflows.DrillIncomplete || application.Details(&result) != nil ||
		result.Complete || result.Fewer.Documents == 0 || result.Fewer.Indices == 0 {
		t.Fatalf("it ended with %v, %+v", err, result)
	}
	if !strings.Contains(err.Error(), w.indices+days["a"]+": the index has") {
		t.Errorf("it does not say what is missing: %v", err)
	}
	if ended(t, recovery.DrillIncomplete) != counted+1 {
		t.Error("it is not counted")
	}
	w.untouched(before)
	w.keep(w.inner(), "drill_incomplete")
}

// TestADrillGivesWay: it is not done beside a recovery, and when an operator
// ends its recovery, since there is need of another one, its copies go.
func TestADrillGivesWay(t *testing.T) {
	w := backedUp(t)
	before := w.uuids()
	slow := w.begin(workflows.RecoverInput{Rate: 20, RecoverRequest: recovery.RecoverRequest{Into: "slow", NoSnapshot: true}})
	_, _, err := w.drill(workflows.DrillInput{})
	if failure(err) != workflows.DrillFailed || !strings.Contains(err.Error(), "a recovery runs, as workflow recover") {
		t.Errorf("beside a recovery it ended with %v", err)
	}
	w.keep(w.inner(), "drill_refused")
	w.must(w.client.CancelWorkflow(t.Context(), workflows.RecoverID, slow.GetRunID()))
	if err := slow.Get(t.Context(), nil); err == nil {
		t.Error("the slow recovery was not canceled")
	}
	for name := range w.states() {
		if strings.HasSuffix(name, "-slow") {
			w.must(w.documents.DeleteIndex(t.Context(), name))
		}
	}

	done := make(chan error, 1)
	go func() {
		_, _, err := w.drill(workflows.DrillInput{Rate: 20, NoSnapshot: true})
		done <- err
	}()
	w.await("copies", func() bool { return len(w.states()) > len(before) })
	w.must(w.client.CancelWorkflow(t.Context(), workflows.RecoverID, ""))
	if err := <-done; failure(err) != workflows.DrillFailed {
		t.Errorf("with its recovery canceled it ended with %v", err)
	}
	w.untouched(before)

	go func() {
		_, _, err := w.drill(workflows.DrillInput{Rate: 20, NoSnapshot: true})
		done <- err
	}()
	w.await("copies again", func() bool { return len(w.states()) > len(before) })
	w.must(w.client.CancelWorkflow(t.Context(), workflows.DrillID, ""))
	if err := <-done; err == nil {
		t.Error("it was canceled, and is complete")
	}
	w.keep(w.inner(), "drill_canceled")
	w.untouched(before)

	_, _, err = w.drill(workflows.DrillInput{Rate: 20, NoSnapshot: true, Within: time.Second})
	if failure(err) != workflows.DrillFailed || !strings.Contains(err.Error(), "it was not done within 1s") {
		t.Errorf("with too little time it ended with %v", err)
	}
	w.keep(w.inner(), "drill_too_long")
	w.untouched(before)
}

// TestADrillUnderLoad: what is indexed while the drill begins is not called
// missing, and no shard stands still for it.
func TestADrillUnderLoad(t *testing.T) {
	w := backedUp(t)
	before := w.uuids()
	done := make(chan error, 1)
	go func() {
		_, result, err := w.drill(workflows.DrillInput{})
		if err == nil && (!result.Complete || result.Live.Documents < 1300 || result.Backfill.Indexed <= 700) {
			err = fmt.Errorf("it is %+v", result)
		}
		done <- err
	}()
	for n := 0; ; n++ {
		w.send(fmt.Sprintf("live%d", n), 100, 0)
		w.backUp()
		if !w.running() {
			t.Error("a shard stands still")
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			w.indexed()
			w.untouched(before)
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
