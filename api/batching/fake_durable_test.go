package batching_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"millrace/internal/pack"
)

// durable is where batches end: workflows that were started, and the direct
// way. Both can be away.
type durable struct {
	mu       sync.Mutex
	started  map[string][][]byte // id: records
	largest  int                 // pack
	direct   [][]byte
	attempts int // to start
	takes    time.Duration
	turns    chan struct{} // as many starts as it has room for run at once; nil: any number
	away     error         // of starts
	hang     bool          // starts hang instead
	refuses  int           // direct attempts that leave everything
	inFlight int
	most     int
}

func (d *durable) StartIngest(ctx context.Context, id string, batch []byte) error {
	d.mu.Lock()
	d.attempts++
	d.inFlight++
	d.most = max(d.most, d.inFlight)
	away, hang := d.away, d.hang
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.inFlight--
		d.mu.Unlock()
	}()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if d.turns != nil {
		d.turns <- struct{}{}
		defer func() { <-d.turns }()
	}
	time.Sleep(d.takes) // inside of a bubble: no time of ours
	if away != nil {
		return away
	}
	records, err := pack.Unpack(batch)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.started[id] != nil {
		return errors.New(id + " was started before")
	}
	d.started[id], d.largest = records, max(d.largest, len(batch))
	return nil
}

func (d *durable) Put(_ context.Context, _ string, records [][]byte) ([]int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuses > 0 {
		d.refuses--
		var left []int
		for n := range records {
			if n%2 == 0 {
				left = append(left, n)
				continue
			}
			d.direct = append(d.direct, records[n])
		}
		return left, errors.New("neither stream nor queue")
	}
	d.direct = append(d.direct, records...)
	return nil, nil
}

// all are the records that are durable, in no order.
func (d *durable) all() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, records := range d.started {
		for _, r := range records {
			all = append(all, string(r))
		}
	}
	for _, r := range d.direct {
		all = append(all, string(r))
	}
	slices.Sort(all)
	return all
}

// forget lets go of what was started, and how many starts were in flight.
func (d *durable) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.started, d.most = map[string][][]byte{}, 0
}

func newDurable() *durable { return &durable{started: map[string][][]byte{}} }
