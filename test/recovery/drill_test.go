package recovery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"millrace/activities/recovery"
	"millrace/workflows"
)

// TestDrill runs beside other tests, but its own run one after the other: there
// is one drill at a time, so each removes whatever copies it finds.
func TestDrill(t *testing.T) {
	t.Parallel()
	t.Run("restores everything", drillRestoresEverything)
	t.Run("finds missing records", drillFindsMissingRecords)
	t.Run("gives way", drillGivesWay)
	t.Run("under load", drillUnderLoad)
}

// drillRestoresEverything: beside what is there, and nothing of it is
// left, nor of one that was terminated before.
func drillRestoresEverything(t *testing.T) {
	p := backedUp(t)
	before, counted := p.uuids(), ended(t, recovery.DrillComplete)
	left := p.result(p.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Into: "drill-20261123t090000"}}))
	if copies := len(p.states()) - len(before); !left.Complete || copies != 2 {
		t.Fatalf("%d copies, %+v", copies, left)
	}
	run, result, err := p.drill(workflows.DrillInput{})
	if err != nil || !result.Complete || result.Restored != 2 || result.Live.Documents != 1300 || result.Live.Indices != 2 || result.Live.Removed != 2 ||
		result.Removed != 2 || result.Snapshot != "snap" || result.Backfill.Indexed != 700 || len(result.Missing) > 0 {
		t.Errorf("%v, %+v", err, result)
	}
	if ended(t, recovery.DrillComplete) != counted+1 {
		t.Error("it is not counted")
	}
	p.untouched(before)
	p.keep(run, "drill_scheduled")
	p.keep(p.inner(), "drill_complete")

	alone, fromBackup, err := p.drill(workflows.DrillInput{NoSnapshot: true})
	if err != nil || !fromBackup.Complete || fromBackup.Restored != 0 || fromBackup.Backfill.Indexed != 1300 || fromBackup.Snapshot != "" {
		t.Errorf("%s from the backup alone: %v, %+v", alone.GetID(), err, fromBackup)
	}
	p.untouched(before)
}

// drillFindsMissingRecords: an object of the backup is gone. The recovery
// says that the chain is broken, and the drill in which indices documents lack.
func drillFindsMissingRecords(t *testing.T) {
	p := backedUp(t)
	before, counted := p.uuids(), ended(t, recovery.DrillIncomplete)
	objects := p.objects()
	p.must(p.Bucket.Delete(t.Context(), objects[len(objects)/2].Key))
	_, _, err := p.drill(workflows.DrillInput{NoSnapshot: true})
	var application *temporal.ApplicationError
	var result workflows.DrillResult
	if !errors.As(err, &application) || application.Type() != workflows.DrillIncomplete || application.Details(&result) != nil ||
		result.Complete || result.Fewer.Documents == 0 || result.Fewer.Indices == 0 {
		t.Fatalf("it ended with %v, %+v", err, result)
	}
	if !strings.Contains(err.Error(), p.indices+days["a"]+": the index has") {
		t.Errorf("it does not say what is missing: %v", err)
	}
	if ended(t, recovery.DrillIncomplete) != counted+1 {
		t.Error("it is not counted")
	}
	p.untouched(before)
	p.keep(p.inner(), "drill_incomplete")
}

// drillGivesWay: it is not done beside a recovery, and when an operator
// ends its recovery, since there is need of another one, its copies go.
func drillGivesWay(t *testing.T) {
	p := backedUp(t)
	before := p.uuids()
	slow := p.begin(workflows.RecoverInput{Rate: 20, RecoverRequest: recovery.RecoverRequest{Into: "slow", NoSnapshot: true}})
	_, _, err := p.drill(workflows.DrillInput{})
	if failure(err) != workflows.DrillFailed || !strings.Contains(err.Error(), "a recovery runs, as workflow recover") {
		t.Errorf("beside a recovery it ended with %v", err)
	}
	p.keep(p.inner(), "drill_refused")
	p.must(p.client.CancelWorkflow(t.Context(), workflows.RecoverID, slow.GetRunID()))
	if err := slow.Get(t.Context(), nil); err == nil {
		t.Error("the slow recovery was not canceled")
	}
	for name := range p.states() {
		if strings.HasSuffix(name, "-slow") {
			p.must(p.documents.DeleteIndex(t.Context(), name))
		}
	}

	done := make(chan error, 1)
	go func() {
		_, _, err := p.drill(workflows.DrillInput{Rate: 20, NoSnapshot: true})
		done <- err
	}()
	p.await("copies", func() bool { return len(p.states()) > len(before) })
	p.must(p.client.CancelWorkflow(t.Context(), workflows.RecoverID, ""))
	if err := <-done; failure(err) != workflows.DrillFailed {
		t.Errorf("with its recovery canceled it ended with %v", err)
	}
	p.untouched(before)

	go func() {
		_, _, err := p.drill(workflows.DrillInput{Rate: 20, NoSnapshot: true})
		done <- err
	}()
	p.await("copies again", func() bool { return len(p.states()) > len(before) })
	p.must(p.client.CancelWorkflow(t.Context(), workflows.DrillID, ""))
	if err := <-done; err == nil {
		t.Error("it was canceled, and is complete")
	}
	p.keep(p.inner(), "drill_canceled")
	p.untouched(before)

	_, _, err = p.drill(workflows.DrillInput{Rate: 20, NoSnapshot: true, Within: time.Second})
	if failure(err) != workflows.DrillFailed || !strings.Contains(err.Error(), "it was not done within 1s") {
		t.Errorf("with too little time it ended with %v", err)
	}
	p.keep(p.inner(), "drill_too_long")
	p.untouched(before)
}

// drillUnderLoad: what is indexed while the drill begins is not called
// missing, and no shard stands still for it.
func drillUnderLoad(t *testing.T) {
	p := backedUp(t)
	before := p.uuids()
	done := make(chan error, 1)
	go func() {
		_, result, err := p.drill(workflows.DrillInput{})
		if err == nil && (!result.Complete || result.Live.Documents < 1300 || result.Backfill.Indexed <= 700) {
			err = fmt.Errorf("it is %+v", result)
		}
		done <- err
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		p.send(fmt.Sprintf("live%d", n), 100, 0)
		p.backUp()
		if !p.running() {
			t.Error("a shard stands still")
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			p.indexed()
			p.untouched(before)
			return
		case <-tick.C:
		}
	}
}
