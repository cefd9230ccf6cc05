package snapshots

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/index"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
	"millrace/test/kit/bucket"
	"millrace/test/kit/made"
)

// directory is a cluster that knows of all indices, and counts who asks.
type directory struct {
	result outcome.Class
	made   time.Time
	asked  [][]string
	away   error
}

func (d *directory) Do(context.Context, *sink.Bulk) sink.Result {
	return sink.Result{Class: d.result}
}

func (d *directory) Indices(_ context.Context, names ...string) (map[string]index.State, error) {
	d.asked = append(d.asked, names)
	if d.away != nil {
		return nil, d.away
	}
	states := map[string]index.State{}
	for _, name := range names {
		states[name] = index.State{Created: d.made}
	}
	return states, nil
}

// TestIndicesThatAreWrittenToAreNoted: once, and again after a while, and what
// fails does not keep records from being indexed.
func TestIndicesThatAreWrittenToAreNoted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, store := &directory{result: outcome.Indexed, made: time.Now().UTC().Truncate(time.Millisecond), away: errors.New("away")}, bucket.New()
		n := &WrittenIndices{Bulk: d, Cluster: d, Store: store}
		bulk := &sink.Bulk{}
		parsed, err := telemetry.Parse(made.Record(0))
		if err != nil {
			t.Fatal(err)
		}
		bulk.Add(parsed, time.Now())
		ours := parsed
		ours.Index = []byte(telemetry.CanaryIndex(time.Now())) // of which there is no snapshot
		bulk.Add(ours, time.Now())
		name := string(parsed.Index)
		notes := func() []snapshot.Noted {
			all, err := snapshot.ListNoted(t.Context(), store)
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		send := func() {
			if result := n.Do(t.Context(), bulk); result.Class != d.result {
				t.Errorf("it answers %v", result.Class)
			}
			synctest.Wait()
		}
		send()
		send()
		if len(d.asked) != 1 || len(notes()) != 0 {
			t.Errorf("while the cluster is away it was asked %v, noted is %v", d.asked, notes())
		}
		d.away = nil
		time.Sleep(recordRetry) // in the bubble
		for range 5 {
			send()
		}
		if want := []snapshot.Noted{{Index: name, Created: d.made}}; len(d.asked) != 2 || !slices.Equal(d.asked[1], []string{name}) || !slices.Equal(notes(), want) {
			t.Errorf("it was asked %v, noted are %v", d.asked, notes())
		}
		first := d.made
		d.made = d.made.Add(time.Minute) // it was made anew
		time.Sleep(recordAgain)
		send()
		if want := []snapshot.Noted{{Index: name, Created: first}, {Index: name, Created: d.made}}; len(d.asked) != 3 || !slices.Equal(notes(), want) {
			t.Errorf("it was asked %v, noted are %v", d.asked, notes())
		}
		time.Sleep(recordAgain)
		d.result = outcome.Transient
		if send(); len(d.asked) != 3 {
			t.Error("it notes what was not indexed")
		}
		// A bulk that is used again names only what is in it.
		if bulk.Reset(); len(bulk.Indices()) != 0 {
			t.Errorf("an empty bulk names %v", bulk.Indices())
		}
	})
}
