package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"millrace/internal/load"
	"millrace/test/kit/audit"
)

const (
	pollInterval = time.Second
	// patience is how long the demo waits for records while nothing moves.
	patience = time.Minute
)

// outcome is what became of what was sent.
type outcome struct {
	report     audit.Report
	accepted   uint64
	bad        uint64 // of the accepted, what no index takes
	duplicates uint64 // records that were accepted although they had been before
	again      uint64 // of duplicates, those that are not bad: the worker must meet each in the index
	skipped    uint64 // duplicates that the worker met, by its own count
	redriven   uint64 // records that went through the queue, by our processes' counts
	backup     audit.Backup
	warmUp     time.Duration
	delays     *audit.Delays
	canary     canary
}

// canary is what became of the records of the canary, by the worker's count.
type canary struct {
	posted, searchable uint64
	took               time.Duration // on average, those that could be searched
}

// availability is the share of its records that could be searched in time.
func (c canary) availability() float64 {
	return float64(c.searchable) / float64(max(1, c.posted))
}

// ofCanary asks the worker.
func (d *demo) ofCanary(ctx context.Context) (c canary, err error) {
	for name, to := range map[string]*uint64{"": &c.posted, `result="searchable"`: &c.searchable} {
		value, err := d.worker.Metric(ctx, "millrace_canary_runs_total", name)
		if err != nil {
			return c, err
		}
		*to = uint64(value)
	}
	seconds, err := d.worker.Metric(ctx, "millrace_canary_searchable_seconds_sum")
	c.took = time.Duration(seconds / float64(max(1, c.searchable)) * float64(time.Second))
	return c, err
}

func (o outcome) indexed() uint64      { return o.report.Indexed + o.report.Others }
func (o outcome) deadLettered() uint64 { return o.report.DeadLettered + o.report.OthersDead }
func (o outcome) backedUp() uint64     { return o.backup.Accepted + o.backup.Others }
func (o outcome) inFlight() uint64 {
	return o.accepted - min(o.accepted, o.indexed()+o.deadLettered())
}

// await waits until every accepted record is indexed or in the ledger, and in
// the backup, and every duplicate has been met, or nothing has moved for a
// while.
func (d *demo) await(ctx context.Context, s *sent) (outcome, error) {
	sent := s.load.Counts()
	o := outcome{accepted: s.accepted(), bad: s.bad(), duplicates: sent.Duplicates, again: sent.Duplicates - sent.BadAgain, warmUp: d.WarmUp}
	known := audit.Sent{Source: s.load.Source, Accepted: &s.load.Accepted}
	last, moved := uint64(0), time.Now()
	for {
		indexed, err := d.stores.Indexed(ctx)
		if err != nil {
			return o, fmt.Errorf("count documents: %w", err)
		}
		if err := d.count(ctx, &o); err != nil {
			return o, err
		}
		if o.backup, err = audit.BackedUp(ctx, d.stores, known); err != nil {
			return o, fmt.Errorf("read the backup: %w", err)
		}
		say("progress", "%8d accepted  %8d indexed  %8d backed up", o.accepted, indexed, o.backedUp())
		if now := indexed + o.skipped + o.backedUp(); now != last {
			last, moved = now, time.Now()
		}
		waited := time.Since(moved) > patience
		if indexed+o.bad >= o.accepted && o.skipped >= o.again || waited {
			if o.report, err = audit.Run(ctx, d.stores, known); err != nil {
				return o, err
			}
			if o.inFlight() == 0 && o.backedUp() >= o.accepted || waited {
				break
			}
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return o, err
		}
	}
	if unread := d.unread.Load(); unread != nil {
		return o, fmt.Errorf("watch the queue: %w", *unread)
	}
	var err error
	if o.delays, err = d.queued.ByWay(ctx, d.stores, s.warm); err != nil {
		return o, err
	}
	if o.canary, err = d.ofCanary(ctx); err != nil {
		return o, err
	}
	return o, d.count(ctx, &o)
}

// count asks our own processes for what only they know.
func (d *demo) count(ctx context.Context, o *outcome) error {
	skipped, err := d.worker.Metric(ctx, "millrace_process_records_total", `="duplicate"`)
	if err != nil {
		return err
	}
	redriven, err := d.worker.Metric(ctx, "millrace_redrive_records_total")
	if err != nil {
		return err
	}
	o.skipped, o.redriven = uint64(skipped), uint64(redriven)
	return nil
}

// check says what is not as it should be.
func (o outcome) check() error {
	errs := []error{o.report.Clean()}
	if o.accepted != o.indexed()+o.deadLettered() {
		errs = append(errs, fmt.Errorf("%d records were accepted, %d are indexed and %d dead-lettered", o.accepted, o.indexed(), o.deadLettered()))
	}
	if o.deadLettered() != o.bad {
		errs = append(errs, fmt.Errorf("%d records were bad, %d are dead-lettered", o.bad, o.deadLettered()))
	}
	if o.backedUp() != o.accepted || o.backup.Altered > 0 {
		errs = append(errs, fmt.Errorf("%d records were accepted, %d are in the backup, %d of them altered", o.accepted, o.backedUp(), o.backup.Altered))
	}
	if o.redriven == 0 {
		errs = append(errs, errors.New("the queue was not used, though the stream throttled"))
	}
	if o.delays.Direct.Count() == 0 || o.delays.Queued.Count() == 0 {
		errs = append(errs, fmt.Errorf("after the warm-up %d records came directly and %d through the queue: neither delay may be without a record", o.delays.Direct.Count(), o.delays.Queued.Count()))
	}
	if o.again == 0 || o.skipped < o.again {
		errs = append(errs, fmt.Errorf("%d good records were accepted twice, and the worker skipped %d", o.again, o.skipped))
	}
	return errors.Join(errs...)
}

func milliseconds(d time.Duration) float64 { return float64(d.Round(100*time.Microsecond)) / 1e6 }

// table prints the outcome as a table.
func (o outcome) table(w io.Writer) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range []struct {
		what, note string
		value      any
	}{
		{"accepted", "records that a sender was answered for", o.accepted},
		{"indexed", "documents in Elasticsearch, each once", o.indexed()},
		{"duplicates skipped", fmt.Sprintf("by the worker; %d were sent twice", o.duplicates), o.skipped},
		{"dead-lettered", fmt.Sprintf("in the ledger, with error and payload; %d were sent as bad", o.bad), o.deadLettered()},
		{"in flight", "accepted, and neither of these", o.inFlight()},
		{"backed up", fmt.Sprintf("distinct, in %d objects in S3, whatever became of them elsewhere", o.backup.Objects), o.backedUp()},
		{"redriven", "went through the queue, which takes what the stream does not", o.redriven},
	} {
		fmt.Fprintf(t, "  %s\t%v\t\t%s\n", row.what, row.value, row.note)
	}
	_ = t.Flush() // to a terminal
	o.delayTable(w)
}

// delayTable prints how long records took, the delays of the warm pipeline first.
func (o outcome) delayTable(w io.Writer) {
	fmt.Fprintf(w, "\nDelay from received to indexed, after a warm-up of %v:\n\n", o.warmUp)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "  \taverage\tp50\tp99\trecords\t\t")
	for _, row := range []struct {
		what, note string
		delay      *load.Histogram
	}{
		{"direct", "collector, stream, index", &o.delays.Direct},
		{"through the queue", "the stream did not take them at first; Redrive brought them back", &o.delays.Queued},
		{"in the warm-up", "left out above: first indices, and servers that compile", &o.delays.WarmingUp},
		{"all", "the three together", o.report.Delay},
	} {
		fmt.Fprintf(t, "  %s\t%.0f ms\t%.0f ms\t%.0f ms\t%d\t\t%s\n", row.what, milliseconds(row.delay.Average()),
			milliseconds(row.delay.Quantile(0.5)), milliseconds(row.delay.Quantile(0.99)), row.delay.Count(), row.note)
	}
	_ = t.Flush() // to a terminal
	fmt.Fprintf(w, "\nCanary: %d of %d records could be searched in time (%.1f %%), after %.1f s on average.\n",
		o.canary.searchable, o.canary.posted, 100*o.canary.availability(), o.canary.took.Seconds())
}

// print checks the outcome and prints it for programs, on the last line.
func (o outcome) print(w io.Writer) error {
	err := json.NewEncoder(w).Encode(struct {
		Accepted     uint64  `json:"accepted"`
		Indexed      uint64  `json:"indexed"`
		Duplicates   uint64  `json:"duplicates"`
		DeadLettered uint64  `json:"dead_lettered"`
		Redriven     uint64  `json:"redriven"`
		BackedUp     uint64  `json:"backed_up"`
		DelayAvg     float64 `json:"delay_avg_ms"`
		DelayP99     float64 `json:"delay_p99_ms"`

		WarmUp    float64 `json:"warm_up_s"`
		DirectAvg float64 `json:"delay_direct_avg_ms"`
		DirectP99 float64 `json:"delay_direct_p99_ms"`
		QueuedAvg float64 `json:"delay_queue_avg_ms"`
		QueuedP99 float64 `json:"delay_queue_p99_ms"`

		Canary float64 `json:"canary_availability"`
	}{
		o.accepted, o.indexed(), o.duplicates, o.deadLettered(), o.redriven, o.backedUp(),
		milliseconds(o.report.Delay.Average()), milliseconds(o.report.Delay.Quantile(0.99)), o.warmUp.Seconds(),
		milliseconds(o.delays.Direct.Average()), milliseconds(o.delays.Direct.Quantile(0.99)),
		milliseconds(o.delays.Queued.Average()), milliseconds(o.delays.Queued.Quantile(0.99)),
		o.canary.availability(),
	})
	return errors.Join(err, o.check())
}
