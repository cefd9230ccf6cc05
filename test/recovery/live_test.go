package recovery

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"millrace/activities/recovery"
	"millrace/deploy/local/localtest"
	"millrace/internal/delay"
	"millrace/test/kit/faultproxy"
	"millrace/workflows"
)

// load sends some records every tenth of a second, until it is told to stop.
func (p *pipeline) load(each int) (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			var records [][]byte
			for i := range each {
				id := fmt.Sprintf("live-%d", n*each+i)
				records = append(records, p.record(id, false))
				p.mu.Lock()
				p.sent[id] = true
				p.mu.Unlock()
			}
			if rejected := p.Stream.Put(context.WithoutCancel(ctx), records); len(rejected) > 0 {
				p.t.Errorf("the stream refused %d records", len(rejected))
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		group.Wait()
	}
}

// normal is how long live records take (p99), on average over some windows.
func (p *pipeline) normal(windows int) time.Duration {
	tick := time.NewTicker(delay.RecentWindow)
	defer tick.Stop()
	sum := time.Duration(0)
	for range windows {
		<-tick.C
		sum += p.delay.Recent().P99
	}
	return sum / time.Duration(windows)
}

// TestBackfillGivesWay: in front of an Elasticsearch that works on one document
// after the other, live records wait for those of a backfill, 99 in 100 of their
// bulks for less time than live records take without it: so they take twice as
// long at the most.
func TestBackfillGivesWay(t *testing.T) {
	t.Parallel()
	proxy, err := faultproxy.Start(t.Context(), localtest.Elasticsearch(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	p := newPipelineAt(t, proxy.URL())
	began := time.Now().Add(-time.Minute)
	p.send("old", 5000, 0)
	p.indexed()
	p.backUp()
	old := time.Now()
	var mu sync.Mutex
	waits, behind := delay.New(), 0
	slow := &faultproxy.Slow{PerLine: time.Millisecond} // two lines a document
	slow.Waited = func(body []byte, waited time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if bytes.Contains(body, []byte(`-copy"`)) {
			behind++
			return
		}
		now := time.Now()
		waits.Observe(delay.Received{At: now.Add(-waited)}, now)
	}
	proxy.Set(faultproxy.Rule{Name: "slow", Path: "/_bulk", Fault: slow})
	stop := p.load(5)
	defer stop()
	p.normal(1) // forgets the time before
	normal := p.normal(3)
	mu.Lock()
	before := waits.Summary()
	mu.Unlock()
	run := p.replay("old", workflows.RecoverInput{CallFor: callFor, RecoverRequest: recovery.RecoverRequest{From: began, To: old, Into: "copy"}})
	// The first bulks of a backfill are as small as any: from then on it counts.
	mu.Lock()
	waits = delay.New()
	mu.Unlock()
	var beside delay.Summary
	many := 0
	for windows := 1; windows <= 80 && (windows <= 8 || many < 10 || beside.Count < 100); windows++ { // a busy machine gives it few
		p.normal(1)
		mu.Lock()
		beside, many = waits.Summary(), behind
		mu.Unlock()
	}
	progress := p.replayed(run)
	t.Logf("live records take %s; their bulks have waited %s, and %s beside %d bulks of %d records; it %s", normal, before.P99, beside.P99, many,
		progress.RecordsDone, progress.Pace.Text())
	if beside.P99 > normal {
		t.Errorf("live bulks wait %s for a backfill, and live records take %s without it", beside.P99, normal)
	}
	if many < 10 || progress.RecordsDone == 0 || beside.Count < 100 {
		t.Errorf("%d bulks of old records, %d of live ones: this shows little", many, beside.Count)
	}
	proxy.Set()
	stop()
	if result := p.result(run); result.Backfill.Indexed != 5000 {
		t.Errorf("the result is %+v", result.Backfill)
	}
	p.indexed()
	p.complete()
}

func (p *pipeline) replayed(run client.WorkflowRun) workflows.RecoverProgress {
	progress, err := p.launcher.RecoverProgress(p.t.Context(), run.GetID())
	p.must(err)
	return progress
}
