package deadletters

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/test/kit/made"
)

// letterbox is a dead-letter queue with visibility timeouts.
type letterbox struct {
	mu      sync.Mutex
	random  *rand.Rand
	fickle  bool
	letters map[string]*lying
	// deleted is told before a letter goes.
	deleted func(l queue.DeadLetter)
}

type lying struct {
	letter  queue.DeadLetter
	damaged error
	until   time.Time // hidden
}

func (b *letterbox) Name() string { return "dlq" }

func (b *letterbox) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Letter, error) {
	answer := make(chan []queue.Letter, 1)
	go func() { answer <- b.poll(limit, time.Now().Add(wait), visibility) }() // goes on when the caller is gone
	select {
	case got := <-answer:
		return got, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *letterbox) poll(limit int, deadline time.Time, visibility time.Duration) (got []queue.Letter) {
	for {
		b.mu.Lock()
		for id, l := range b.letters {
			if len(got) < limit && !time.Now().Before(l.until) {
				l.until = time.Now().Add(visibility)
				got = append(got, queue.Letter{ID: id, DeadLetter: l.letter, Damaged: l.damaged})
			}
		}
		b.mu.Unlock()
		if len(got) > 0 || time.Now().After(deadline) {
			return got
		}
		time.Sleep(time.Second)
	}
}

// TestAPausedKeeperHidesNothing: a letter that arrives while it is being paused
// is there for others at once.
func TestAPausedKeeperHidesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, b := newPipeline(t), &letterbox{letters: map[string]*lying{}}
		arrived := time.Now().Add(1500 * time.Millisecond)
		time.AfterFunc(time.Until(arrived), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.letters["late"] = &lying{letter: lambdasLetter(0, 1)}
		})
		p.keep(b, KeepCall{}, time.Second)
		time.Sleep(letterWait) // whatever was abandoned has ended
		if len(b.letters) != 1 || b.letters["late"].until.After(time.Now()) {
			t.Errorf("in the queue are %+v, at %v", b.letters["late"], time.Now())
		}
	})
}

func (b *letterbox) Hide(_ context.Context, l queue.Letter, visibility time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters[l.ID].until = time.Now().Add(visibility)
	return nil
}

func (b *letterbox) Delete(_ context.Context, l queue.Letter) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fickle && b.random.IntN(5) == 0 {
		return errors.New("SQS is away")
	}
	if of := b.letters[l.ID]; of != nil && b.deleted != nil {
		b.deleted(of.letter)
	}
	delete(b.letters, l.ID)
	return nil
}

// lambdasLetter points at records of the stream.
func lambdasLetter(first, last int) queue.DeadLetter {
	return queue.DeadLetter{
		RequestContext: queue.RequestContext{FunctionARN: "arn:aws:lambda:x", Condition: queue.RetriesExhausted, ApproximateInvokeCount: 3},
		Batch: &queue.KinesisBatchInfo{
			ShardID: "shardId-000000000001", First: made.Sequence(first), Last: made.Sequence(last), Size: last - first + 1, StreamARN: made.Stream.ARN,
		},
	}
}

// keep calls KeepLetters once, for so long.
func (p *pipeline) keep(b *letterbox, in KeepCall, long time.Duration) KeepProgress {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	call := newKeeping(&Keeper{Queue: b, Stream: made.Stream, Source: p, Ledger: p.ledger, Worker: "test"}, in, longcall.Within(ctx, context.Background()))
	call.run(in.UntilEmpty)
	call.tell()
	return call.told.Get()
}

// TestKeeperMergesTheIndexOfTheLedger also after S3 was away, but not where it is to
// end when the queue is empty.
func TestKeeperMergesTheIndexOfTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, b := newPipeline(t), &letterbox{letters: map[string]*lying{}}
		unmerged := func() (count int) {
			for _, err := range p.bucket.Keys(t.Context(), "ledger-index/new/") {
				if err != nil {
					t.Fatal(err)
				}
				count++
			}
			return count
		}
		for n := range 5 {
			p.giveUp(10*n, "odd", made.Record(n))
		}
		p.keep(b, KeepCall{UntilEmpty: true}, time.Minute)
		if got := unmerged(); got != 5 {
			t.Errorf("%d objects are left of 5", got)
		}
		p.bucket.Break()
		time.AfterFunc(2*mergeEvery, p.bucket.Mend)
		time.AfterFunc(4*mergeEvery, func() { p.giveUp(100, "odd", made.Record(100)) })
		p.keep(b, KeepCall{}, 6*mergeEvery)
		if got := unmerged(); got != 0 {
			t.Errorf("%d objects are not merged", got)
		}
		for _, n := range []int{3, 100} {
			found, err := p.ledger.Find(t.Context(), ledger.Name{DocID: made.DocOf(n)}, 10)
			if err != nil || len(found.Hits) != 1 {
				t.Errorf("record %d: found %+v, %v", n, found, err)
			}
		}
	})
}

func TestLettersAreDeletedOnceTheLedgerHasTheirRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipeline(t)
		for n := range 60 {
			p.kept[made.Sequence(n)] = stream.Record{Sequence: made.Sequence(n), Arrived: made.Arrival, Data: made.Record(n)}
		}
		delete(p.kept, made.Sequence(20)) // trimmed: the front of the third
		delete(p.kept, made.Sequence(30)) // and all of the fourth
		delete(p.kept, made.Sequence(31))
		known, resolved := p.giveUp(100, "odd", made.Record(100)), p.giveUp(101, "odd", made.Record(101))
		if err := p.ledger.Resolve(t.Context(), resolved, ledger.Resolution{How: ledger.HowIndexed}); err != nil {
			t.Fatal(err)
		}
		ours := func(key string, batch *queue.KinesisBatchInfo) queue.DeadLetter {
			return queue.DeadLetter{Batch: batch, Millrace: &queue.DeadRecords{Ledger: key, Records: []queue.DeadRecord{
				{ID: "50", Error: queue.Reason{Type: "exactly_this", Reason: "so"}},
			}}}
		}
		unreadable := func() *lying {
			return &lying{damaged: fmt.Errorf("%w: it is not what it says in JSON", queue.ErrNotDeadLetter)}
		}
		other := lambdasLetter(1, 2)
		other.Batch.StreamARN = "arn:aws:kinesis:eu-west-1:000000000000:stream/another"
		odd := lambdasLetter(1, 2)
		odd.Batch.First = "not a number"
		b := &letterbox{letters: map[string]*lying{
			"open": {letter: ours(known, nil)}, "done": {letter: ours(resolved, lambdasLetter(101, 101).Batch)},
			"lambda": {letter: lambdasLetter(0, 9)}, "again": {letter: lambdasLetter(0, 9)},
			"front": {letter: lambdasLetter(20, 24)}, "gone": {letter: lambdasLetter(30, 31)},
			"ours without entry":        {letter: ours("ledger/open/telemetry/x/1-2.json", lambdasLetter(50, 51).Batch)},
			"without entry and pointer": {letter: ours("ledger/open/telemetry/x/3-4.json", nil)},
			"smoke":                     unreadable(), "another stream": {letter: other}, "odd": {letter: odd},
		}}
		got := p.keep(b, KeepCall{UntilEmpty: true}, time.Hour)
		stay := []string{"another stream", "odd", "smoke", "without entry and pointer"}
		var left []string
		for _, l := range got.Unreadable {
			left = append(left, l.ID)
		}
		slices.Sort(left)
		if !slices.Equal(left, stay) || got.Stay != 4 || len(b.letters) != 4 || got.LastError != "" {
			t.Errorf("unreadable are %v of %d, in the queue are %d letters, %q", left, got.Stay, len(b.letters), got.LastError)
		}
		// Both deliveries of one letter find its entry, or make the same one.
		if got.Counts.Messages != 7 || got.Counts.Lost != 3 {
			t.Errorf("%+v", got.Counts)
		}
		open, losses := p.entries(), 0
		for key, e := range open {
			switch {
			case e.Kind == ledger.Loss:
				losses++
				if len(e.Records) > 0 || e.Cause == nil || e.Cause.Type != queue.RetriesExhausted || e.Cause.Cause.Type != outcome.TypeTrimmed {
					t.Errorf("%s is %+v", key, e)
				}
			case strings.Contains(key, made.Sequence(0)+"-"):
				if len(e.Records) != 10 || string(e.Records[9].Data) != string(made.Record(9)) || e.Records[9].Sequence != made.Sequence(9) ||
					!strings.Contains(e.Records[0].Error.Reason, "arn:aws:lambda:x") {
					t.Errorf("%s is %+v", key, e)
				}
			case strings.Contains(key, made.Sequence(50)+"-"):
				if e.Records[0].Error.Type != "exactly_this" || e.Records[1].Error.Type == "exactly_this" {
					t.Errorf("%s is %+v", key, e)
				}
			}
		}
		if len(open) != 1+1+1+1+2 || losses != 2 {
			t.Errorf("%d entries are open, %d of them losses: %v", len(open), losses, open)
		}
		if open[known].Records[0].Error.Type != "odd" {
			t.Error("an entry that was there was written again")
		}
		// They are seen again a minute later, and not counted twice.
		if again := p.keep(b, KeepCall{Counts: got.Counts, Unreadable: got.Unreadable}, 3*time.Minute); again.Stay != 4 || again.Counts != got.Counts {
			t.Errorf("later: %+v", again)
		}
		// A late second delivery finds its entry, though the stream has nothing
		// any more.
		clear(p.kept)
		b.letters["late"] = &lying{letter: lambdasLetter(0, 9)}
		if p.keep(b, KeepCall{UntilEmpty: true}, time.Hour); b.letters["late"] != nil || len(p.entries()) != len(open) {
			t.Errorf("after a late delivery %d entries are open", len(p.entries()))
		}
		delete(b.letters, "smoke")
		if again := p.keep(b, KeepCall{Unreadable: got.Unreadable}, 10*time.Minute); again.Stay != 3 {
			t.Errorf("one was deleted by hand, and there are %d", again.Stay)
		}
	})
}

// TestNoLetterIsLostWhenItsKeeperDies at any moment, while all around it fails
// now and then: when a letter goes, the ledger has its records.
func TestNoLetterIsLostWhenItsKeeperDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const letters = 60
		p, random := newPipeline(t), rand.New(rand.NewPCG(8, 9))
		p.fickle = true
		p.bucket.SetFickle(true)
		b := &letterbox{letters: map[string]*lying{}, random: random, fickle: true}
		for n := range letters {
			for at := range 5 {
				p.kept[made.Sequence(10*n+at)] = stream.Record{Sequence: made.Sequence(10*n + at), Data: made.Record(10*n + at)}
			}
			b.letters[fmt.Sprint(n)] = &lying{letter: lambdasLetter(10*n, 10*n+4)}
			b.letters[fmt.Sprint(n, " again")] = &lying{letter: lambdasLetter(10*n, 10*n+4)}
		}
		b.deleted = func(l queue.DeadLetter) {
			open := p.places()
			for at := range p.kept {
				if id := recordID(p.kept[at]); at >= l.Batch.First && at <= l.Batch.Last && open[id] != 1 {
					t.Errorf("the letter about %s is deleted, and the ledger has record %s %d times", l.Batch.First, id, open[id])
				}
			}
		}
		for calls := 0; len(b.letters) > 0; calls++ {
			if calls == 500 {
				t.Fatalf("%d letters are left", len(b.letters))
			}
			p.keep(b, KeepCall{}, time.Duration(random.IntN(20_000))*time.Millisecond)
		}
		if open := p.entries(); len(open) != letters {
			t.Errorf("%d entries are open", len(open))
		}
	})
}

func recordID(r stream.Record) string { return ledger.NewRecord(r.Data, outcome.Error{}).ID }
