package batching_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/api/batching"
	"millrace/internal/pack"
)

func init() {
	// The compressor's own channels must be made outside of any bubble.
	pack.Pack(nil)
}

func records(prefix string, count, size int) (all [][]byte) {
	for n := range count {
		r := fmt.Sprintf("%s-%06d-", prefix, n)
		all = append(all, []byte(r+strings.Repeat("x", max(0, size-len(r)))))
	}
	return all
}

// want are records as all returns them.
func want(lists ...[][]byte) (all []string) {
	for _, list := range lists {
		for _, r := range list {
			all = append(all, string(r))
		}
	}
	slices.Sort(all)
	return all
}

func TestFloodDelaysNoOtherTenant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDurable()
		d.takes = 20 * time.Millisecond
		b := batching.New(batching.Settings{}, d, d)
		var group sync.WaitGroup
		flood := func() {
			d.mu.Lock()
			d.most = 0
			d.mu.Unlock()
			for range 40 {
				group.Go(func() {
					if _, err := b.Ingest(t.Context(), "flooder", records("flood", 1000, 600)); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
		}
		few := batching.DefaultInFlight / 8
		flood()
		group.Wait()
		if d.most != batching.DefaultInFlight {
			t.Errorf("%d batches of a tenant that is alone are on their way", d.most)
		}
		if _, err := b.Ingest(t.Context(), "other", records("other", 20, 600)); err != nil {
			t.Error(err)
		}
		flood()
		begun := time.Now()
		if _, err := b.Ingest(t.Context(), "other", records("other", 20, 600)); err != nil {
			t.Error(err)
		}
		if took, most := time.Since(begun), batching.DefaultLinger+d.takes; took > most {
			t.Errorf("another tenant's records waited %v, more than %v", took, most)
		}
		group.Wait()
		if d.most > few+1 { // and the other tenant's
			t.Errorf("%d batches of the flood are on their way beside another tenant, more than %d", d.most-1, few)
		}
		b.Close()
		if sent := len(d.all()); sent != 2*40*1000+2*20 {
			t.Errorf("%d records are durable", sent)
		}
	})
}

// TestIngestSaysInWhichBatchesRecordsAre, and which of them have no workflow.
func TestIngestSaysInWhichBatchesRecordsAre(t *testing.T) {
	t.Parallel()
	for _, away := range []error{nil, errors.New("Temporal is away")} {
		synctest.Test(t, func(t *testing.T) {
			d := newDurable()
			d.away = away
			b := batching.New(batching.Settings{BatchRecords: 100}, d, d)
			defer b.Close()
			in, err := b.Ingest(t.Context(), "tenant", records("r", 250, 50))
			if err != nil || len(in) != 3 {
				t.Fatalf("the batches are %v, %v", in, err)
			}
			for _, batch := range in {
				started := len(d.started["ingest/"+batch.UUID.String()]) > 0
				if batch.Direct == (away == nil) || started != (away == nil) {
					t.Errorf("of %v a workflow was started: %t", batch, started)
				}
			}
		})
	}
}

func TestConcurrentRequestsShareBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDurable()
		d.takes = 3 * time.Millisecond
		b := batching.New(batching.Settings{BatchRecords: 100}, d, d)
		var group sync.WaitGroup
		var sent [][][]byte
		for n := range 50 {
			mine := records(fmt.Sprint("request", n), 10, 50)
			sent = append(sent, mine)
			group.Go(func() {
				if _, err := b.Ingest(t.Context(), "tenant", mine); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		b.Close()
		if !slices.Equal(d.all(), want(sent...)) {
			t.Errorf("%d records are durable", len(d.all()))
		}
		if len(d.started) != 5 || len(d.direct) > 0 {
			t.Errorf("%d batches were started, %d records went directly", len(d.started), len(d.direct))
		}
	})
}

func TestLoneRequestLingersNoLongerThanSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDurable()
		b := batching.New(batching.Settings{Linger: 7 * time.Millisecond}, d, d)
		defer b.Close()
		begin := time.Now()
		if _, err := b.Ingest(t.Context(), "tenant", records("r", 1, 10)); err != nil || time.Since(begin) != 7*time.Millisecond {
			t.Errorf("it took %v: %v", time.Since(begin), err)
		}
	})
}

func TestLargeRequestIsCutIntoBatches(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings batching.Settings
		records  [][]byte
		batches  int
	}{
		"by count":                {batching.Settings{BatchRecords: 100}, records("r", 950, 20), 10},
		"by bytes":                {batching.Settings{BatchBytes: 10_000}, records("r", 100, 1000), 10},
		"by pack":                 {batching.Settings{}, incompressible(4, 800<<10), 4},
		"by what can be unpacked": {batching.Settings{BatchBytes: 1 << 30, StartTimeout: time.Minute}, records("r", 80, 1<<20), 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDurable()
			b := batching.New(c.settings, d, d)
			if _, err := b.Ingest(t.Context(), "tenant", c.records); err != nil {
				t.Fatal(err)
			}
			b.Close()
			if len(d.started) != c.batches || d.largest > 1<<20 || !slices.Equal(d.all(), want(c.records)) {
				t.Errorf("%d batches of up to %d bytes were started", len(d.started), d.largest)
			}
		})
	}
}

func incompressible(count, size int) (all [][]byte) {
	for range count {
		r := make([]byte, size)
		_, _ = rand.Read(r)
		all = append(all, r)
	}
	return all
}

func TestBatchesInFlightAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDurable()
		d.takes = 100 * time.Millisecond
		b := batching.New(batching.Settings{InFlight: 3, BatchRecords: 10}, d, d)
		if _, err := b.Ingest(t.Context(), "tenant", records("r", 200, 10)); err != nil {
			t.Error(err)
		}
		b.Close()
		if d.most != 3 || len(d.all()) != 200 {
			t.Errorf("%d batches were in flight at once, %d records are durable", d.most, len(d.all()))
		}
	})
}

func TestBatcherKeepsToOneBatchInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDurable()
		d.takes = 100 * time.Millisecond
		b := batching.New(batching.Settings{InFlight: 1}, d, d)
		var group sync.WaitGroup
		for n := range 20 { // "large" yields to "small"
			for tenant, size := range map[string]int{"small": 10, "large": 1000} {
				group.Go(func() {
					if _, err := b.Ingest(t.Context(), tenant, records(fmt.Sprint(tenant, n), size, 600)); err != nil {
						t.Error(err)
					}
				})
			}
		}
		group.Wait()
		b.Close()
		if sent := len(d.all()); d.most != 1 || sent != 20*1010 {
			t.Errorf("%d batches were in flight at once, %d records are durable", d.most, sent)
		}
	})
}

func TestBatcherShedsExcessLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDurable()
		d.takes = 100 * time.Millisecond
		b := batching.New(batching.Settings{PendingBytes: 1000}, d, d)
		defer b.Close()
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := b.Ingest(t.Context(), "tenant", records("first", 9, 100)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if _, err := b.Ingest(t.Context(), "tenant", records("second", 2, 100)); !errors.Is(err, batching.ErrUnavailable) {
			t.Errorf("a request beyond the bound: %v", err)
		}
		group.Wait()
		if _, err := b.Ingest(t.Context(), "tenant", records("third", 2, 100)); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
	})
}

// TestBatcherBypassesTemporalWhenItIsAway also while it hangs: only the first
// batches wait for it, and when it is back it is used again.
func TestBatcherBypassesTemporalWhenItIsAway(t *testing.T) {
	t.Parallel()
	for name, ail := range map[string]func(d *durable){
		"refused": func(d *durable) { d.away = errors.New("connection refused") },
		"hangs":   func(d *durable) { d.hang = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDurable()
				ail(d)
				b := batching.New(batching.Settings{}, d, d)
				defer b.Close()
				var sent [][][]byte
				send := func() {
					t.Helper()
					r := records(fmt.Sprint(len(sent)), 2, 10)
					sent = append(sent, r)
					if _, err := b.Ingest(t.Context(), "tenant", r); err != nil {
						t.Error("a batch was refused")
					}
				}
				for range 10 {
					send()
				}
				if d.attempts != 3 || len(d.direct) != 20 {
					t.Errorf("it tried Temporal %d times, %d records went directly", d.attempts, len(d.direct))
				}
				time.Sleep(time.Minute) // inside of the bubble
				send()
				if d.attempts != 4 {
					t.Errorf("it tried Temporal %d times", d.attempts)
				}
				d.mu.Lock()
				d.away, d.hang = nil, false
				d.mu.Unlock()
				time.Sleep(time.Minute)
				for range 10 {
					send()
				}
				if len(d.started) != 10 || !slices.Equal(d.all(), want(sent...)) {
					t.Errorf("%d batches were started", len(d.started))
				}
			})
		})
	}
}

func TestDirectModeStartsNoWorkflow(t *testing.T) {
	t.Parallel()
	d := newDurable()
	d.refuses = 2 // half of what is left, each time
	b := batching.New(batching.Settings{Mode: batching.Direct}, d, d)
	sent := records("r", 20, 10)
	if _, err := b.Ingest(t.Context(), "tenant", sent); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if d.attempts > 0 || !slices.Equal(d.all(), want(sent)) {
		t.Errorf("%d starts, %d records are durable", d.attempts, len(d.all()))
	}
}

func TestBatcherReportsUnavailableWhenNothingIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDurable()
		d.away, d.refuses = errors.New("away"), 1000
		b := batching.New(batching.Settings{}, d, d)
		begin := time.Now()
		_, err := b.Ingest(t.Context(), "tenant", records("r", 1, 10))
		if !errors.Is(err, batching.ErrUnavailable) || !strings.Contains(err.Error(), "neither stream nor queue") {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		b.Close()
		if _, err := b.Ingest(t.Context(), "tenant", records("r", 1, 10)); !errors.Is(err, batching.ErrUnavailable) {
			t.Errorf("after it was closed: %v", err)
		}
	})
}

// TestCloseAnswersPendingRequests is the collector's SIGTERM.
func TestCloseAnswersPendingRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDurable()
		d.takes = time.Second / 10
		b := batching.New(batching.Settings{Linger: time.Hour}, d, d)
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := b.Ingest(t.Context(), "tenant", records("r", 5, 10)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		b.Close()
		if len(d.all()) != 5 {
			t.Errorf("%d records are durable when it is closed", len(d.all()))
		}
		group.Wait()
	})
}

func TestSettingsAreValidated(t *testing.T) {
	t.Parallel()
	for _, c := range []batching.Settings{
		{Linger: -1}, {BatchRecords: -1}, {BatchBytes: -1}, {InFlight: -1}, {PendingBytes: -1}, {StartTimeout: -1}, {DirectTimeout: -1},
		{BatchRecords: batching.MostBatchRecords + 1}, {BatchBytes: batching.MostBatchBytes + 1},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--ingest-") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []batching.Settings{{}, {BatchRecords: batching.MostBatchRecords, BatchBytes: batching.MostBatchBytes}} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}
