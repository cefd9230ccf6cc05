package ledger_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
)

func TestUpdateRecordsOutcomes(t *testing.T) {
	t.Parallel()
	l := ledger.New(newBucket(t), "telemetry")
	e := bulk("10", "20")
	key := add(t, l, e)
	first, again := e.Records[0].Error, outcome.Error{Type: "again"}
	e.Records[0].Refuse(again)
	e.Records[0].Refuse(outcome.Error{Type: "and again"})
	e.Records[1].Ended = "indexed"
	e.Reprocessing = &ledger.Reprocessing{Holder: ledger.Holder{By: "reprocess/telemetry", Run: "r"}, Mode: "direct", At: created}
	if open, err := l.Update(t.Context(), key, e); err != nil || !open {
		t.Fatalf("open %t, %v", open, err)
	}
	got, err := l.Get(t.Context(), key)
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("it became\n%+v, want\n%+v, error %v", got, e, err)
	}
	if r := got.Records[0]; !reflect.DeepEqual(*r.First, first) || r.Error.Type != "and again" {
		t.Errorf("its first record is %+v", r)
	}
	if err := l.Resolve(t.Context(), key, ledger.Resolution{How: "indexed", At: created}); err != nil {
		t.Fatal(err)
	}
	if open, err := l.Update(t.Context(), key, e); err != nil || open {
		t.Errorf("after it was resolved: open %t, %v", open, err)
	}
	if _, err := l.Update(t.Context(), "elsewhere/x", e); err == nil {
		t.Error("a key from elsewhere was taken")
	}
}

// late resolves an entry when it is about to be written.
type late struct {
	*archive.Bucket
	resolve func() error
}

func (l late) Put(ctx context.Context, key string, body []byte) error {
	return errors.Join(l.resolve(), l.Bucket.Put(ctx, key, body))
}

// TestUpdateDoesNotReopenResolvedEntry at that very moment.
func TestUpdateDoesNotReopenResolvedEntry(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	l := ledger.New(bucket, "telemetry")
	key := add(t, l, bulk("10", "20"))
	racing := ledger.New(late{bucket, func() error { return l.Resolve(t.Context(), key, ledger.Resolution{How: "indexed", At: created}) }}, "telemetry")
	if open, err := racing.Update(t.Context(), key, bulk("10", "20")); err != nil || open {
		t.Errorf("open %t, %v", open, err)
	}
	if opened := collect(t, l.List(t.Context(), ledger.Filter{})); len(opened) > 0 {
		t.Errorf("open again: %q", opened)
	}
}

// TestCopiesHaveTheirOwnKeys: what its holder gives up, and what a later
// holder copies, have keys of their own.
func TestCopiesHaveTheirOwnKeys(t *testing.T) {
	t.Parallel()
	l := ledger.New(newBucket(t), "telemetry")
	held := bulk("10", "20")
	keys := map[string]bool{add(t, l, held): true}
	for _, run := range []string{"first", "second"} {
		held.Held = &ledger.Holder{By: "batch/x", Run: run}
		key := add(t, l, held)
		if keys[key] {
			t.Errorf("%s is there already", key)
		}
		keys[key] = true
		if err := l.Resolve(t.Context(), key, ledger.Resolution{How: "indexed", At: created}); err != nil {
			t.Fatal(err)
		}
	}
	if open := collect(t, l.List(t.Context(), ledger.Filter{})); len(open) != 1 {
		t.Errorf("open are %q", open)
	}
	for e, want := range map[string]bool{"10": true, "30": false} {
		if has, err := l.Has(t.Context(), bulk(e, "20")); err != nil || has != want {
			t.Errorf("of %s it says %t, %v", e, has, err)
		}
	}
}

func TestSelectionMatches(t *testing.T) {
	t.Parallel()
	at := created
	e := ledger.Entry{At: at, Cause: &outcome.Error{Type: "possible_loss", Reason: "trimmed"}}
	r := ledger.Record{Tenant: "acme", Type: "span", Error: outcome.Error{Type: "odd", Reason: "it is so"}}
	for name, c := range map[string]struct {
		selection             ledger.Selection
		written, record, bare bool
	}{
		"all":         {ledger.Selection{}, true, true, true},
		"text":        {ledger.Selection{Error: "is so"}, true, true, false},
		"other text":  {ledger.Selection{Error: "trim"}, true, false, true},
		"type":        {ledger.Selection{ErrorType: "odd"}, true, true, false},
		"part of it":  {ledger.Selection{ErrorType: "od"}, true, false, false},
		"tenant":      {ledger.Selection{Tenant: "acme"}, true, true, false},
		"records":     {ledger.Selection{Type: "log"}, true, false, false},
		"since then":  {ledger.Selection{From: at}, true, true, true},
		"before then": {ledger.Selection{To: at}, false, true, true},
		"later":       {ledger.Selection{From: at.Add(time.Second)}, false, true, true},
	} {
		if s := c.selection; s.Written(e) != c.written || s.Record(r) != c.record || s.Entry(e) != c.bare {
			t.Errorf("%s: %t, %t, %t", name, s.Written(e), s.Record(r), s.Entry(e))
		}
	}
	var groups ledger.Groups
	for n := range 100 {
		groups.Add(outcome.Error{Type: "odd", Reason: "id '" + time.Duration(n).String() + "'"}, 1, "key", at)
		groups.Add(outcome.Error{Type: "odd" + time.Duration(n).String()}, 2, "key", at.Add(time.Duration(n)))
	}
	total := 0
	for _, g := range groups {
		total += g.Records
	}
	if len(groups) != ledger.MostGroups || groups[0].Records != 100 || total != 300 {
		t.Errorf("%d groups with %d records: %+v", len(groups), total, groups)
	}
}
