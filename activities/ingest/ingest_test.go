package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.temporal.io/sdk/testsuite"

	"millrace/internal/pack"
	"millrace/test/kit/runs"
)

// closed are made-up runs that closed unfinished, by what came of reading them.
type closed struct {
	ingests, batches []string
	broken           map[string]error
	inputs           map[string][]byte
	again            []string
	since            []time.Time // that was asked about
}

func (c *closed) IngestInput(_ context.Context, id, _ string) ([]byte, error) {
	if input, odd := c.inputs[id]; odd {
		return input, nil
	}
	return pack.Pack([][]byte{[]byte(id)}), c.broken[id]
}

func (c *closed) ReplayIngest(_ context.Context, id string, _ []byte) (bool, error) {
	c.again = append(c.again, id)
	return true, nil
}

func (c *closed) RestartBatch(_ context.Context, id, _ string) (bool, error) {
	if err := c.broken[id]; err != nil {
		return false, err
	}
	c.again = append(c.again, id)
	return true, nil
}

func (c *closed) UnfinishedIngests(_ context.Context, since time.Time, each func(id, run string) error) error {
	c.since = append(c.since, since)
	return yield(c.ingests, each)
}

func (c *closed) UnfinishedBatches(_ context.Context, since time.Time, each func(id, run string) error) error {
	c.since = append(c.since, since)
	return yield(c.batches, each)
}

func yield(ids []string, each func(id, run string) error) error {
	for _, id := range ids {
		if err := each(id, "run"); err != nil {
			return err
		}
	}
	return nil
}

// TestReconcileGetsPastWhatNobodyCanRead to those behind it, but goes no
// further than what may be read the next time.
func TestReconcileGetsPastWhatNobodyCanRead(t *testing.T) {
	t.Parallel()
	unreadable := fmt.Errorf("%w: it is a text", ErrUnreadable)
	skipped := func() float64 {
		var counter dto.Metric
		if err := unreadableRuns.Write(&counter); err != nil {
			t.Fatal(err)
		}
		return counter.GetCounter().GetValue()
	}
	away := errors.New("Temporal is made to be away")
	for name, c := range map[string]struct {
		broken map[string]error
		inputs map[string][]byte
		again  []string
		skips  float64
		fails  bool
	}{
		"whole":              {again: []string{"i1", "i2", "b1", "b2"}},
		"an odd ingest":      {broken: map[string]error{"i1": unreadable}, again: []string{"i2", "b1", "b2"}, skips: 1},
		"an ingest no pack":  {inputs: map[string][]byte{"i1": []byte("nonsense")}, again: []string{"i2", "b1", "b2"}, skips: 1},
		"an odd batch":       {broken: map[string]error{"b1": unreadable}, again: []string{"i1", "i2", "b2"}, skips: 1},
		"a failure to read":  {broken: map[string]error{"i2": away}, again: []string{"i1"}, fails: true},
		"a failure to start": {broken: map[string]error{"b1": away}, again: []string{"i1", "i2"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			runs := &closed{ingests: []string{"i1", "i2"}, batches: []string{"b1", "b2"}, broken: c.broken, inputs: c.inputs}
			env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
			ingester := &Ingester{Batches: runs}
			env.RegisterActivity(ingester)
			before := skipped()
			value, err := env.ExecuteActivity(ingester.ReconcileBatches, ReconcileInput{})
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			if skips := skipped() - before; skips != c.skips || !slices.Equal(runs.again, c.again) {
				t.Errorf("%g are counted, and started again are %v", skips, runs.again)
			}
			if c.fails {
				return
			}
			var next ReconcileInput
			if err := value.Get(&next); err != nil || next.Since.IsZero() || next.Replayed != len(c.again) {
				t.Errorf("it goes on with %+v, %v", next, err)
			}
		})
	}
}

// TestReconcileLooksAtAllNowAndThen: Temporal may list a run that closed later
// than any overlap.
func TestReconcileLooksAtAllNowAndThen(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	since := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		full time.Time
		all  bool
	}{
		"never before, as after an upgrade": {time.Time{}, true},
		"just now":                          {now.Add(-time.Minute), false},
		"half a day ago":                    {now.Add(-reconcileFully), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			history := &closed{}
			next := runs.Must(t, (&Ingester{Batches: history}).ReconcileBatches, ReconcileInput{Since: since, Full: c.full})
			want := since
			if c.all {
				want = time.Time{}
			}
			if len(history.since) != 2 || !history.since[0].Equal(want) || !history.since[1].Equal(want) {
				t.Errorf("it looked at what closed since %v", history.since)
			}
			if next.Full.Before(c.full) || c.all == next.Full.Equal(c.full) || !next.Since.After(since) {
				t.Errorf("it goes on with %+v", next)
			}
		})
	}
}
