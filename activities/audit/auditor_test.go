package audit

import (
	"context"
	"fmt"
	"io"
	"iter"
	"testing"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/longcall"
)

// deletedObjects are those of a backup that its lifecycle has deleted since they were listed.
type deletedObjects struct{}

func (deletedObjects) List(context.Context, string) iter.Seq2[archive.Object, error] { panic("listed") }

func (deletedObjects) Read(context.Context, string) (io.ReadCloser, archive.Object, error) {
	return nil, archive.Object{}, archive.ErrNotFound
}

// checks runs a call over so many objects, and returns how far it came.
func checks(t *testing.T, objects int, in Call) Progress {
	t.Helper()
	in.Request = Request{All: true}.WithDefaults(in.Start)
	r := &run{auditor: &Auditor{Backups: deletedObjects{}}, call: longcall.Begin(t.Context()), in: in, progress: &guarded{progress: Progress{After: in.After}}}
	defer r.call.Abandon()
	all := make([]chosen, objects)
	for n := range all {
		all[n] = chosen{Object: backup.Object{Key: fmt.Sprint(n)}, turn: uint64(n + 1)}
	}
	if !r.checkAll(all) {
		t.Fatal("it was stopped")
	}
	return r.state()
}

// TestCallsOfARunTakeTurns: each has so many objects, and the next ones are another call's.
func TestCallsOfARunTakeTurns(t *testing.T) {
	t.Parallel()
	first := checks(t, callObjects+50, Call{})
	if first.Done || first.After != callObjects || first.Counts.Objects != callObjects {
		t.Errorf("the first call is %+v", first)
	}
	second := checks(t, callObjects+50, Call{After: first.After})
	if !second.Done || second.Left > 0 || second.Counts.Objects != 50 {
		t.Errorf("the second call is %+v", second)
	}
}

func TestRunEndsWithEnoughMissing(t *testing.T) {
	t.Parallel()
	if got := checks(t, 30, Call{After: 10, Found: enoughMissing}); !got.Done || got.Left != 20 || got.Counts.Objects > 0 {
		t.Errorf("it goes on: %+v", got)
	}
	if got := checks(t, 30, Call{After: 10, Found: enoughMissing - 1}); got.Left > 0 || got.Counts.Objects != 20 {
		t.Errorf("it ends too early: %+v", got)
	}
}
