package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"millrace/internal/stream"
	"millrace/starter/find"
)

// result is the last line. Times are of one look-up in a process that runs.
type result struct {
	P50     float64 `json:"find_p50_ms"`
	P99     float64 `json:"find_p99_ms"`
	Wrong   int     `json:"find_wrong"`
	IDs     int     `json:"find_ids"`
	Process float64 `json:"find_process_p50_ms"` // of the command, from its start to its end
}

func run(ctx context.Context, o options) (err error) {
	w, stop, err := newWorld(ctx, o.IDs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := w.fill(ctx); err != nil {
		return err
	}
	r, err := w.measure(ctx)
	if err != nil {
		return err
	}
	if r.Process, err = w.processes(ctx, o.Processes); err != nil {
		return err
	}
	err = json.NewEncoder(os.Stdout).Encode(r)
	if r.Wrong > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d answers are wrong", r.Wrong, r.IDs))
	}
	return err
}

// mostShown bounds the wrong answers that are printed.
const mostShown = 10

// measure asks for each record, one after the other.
func (w *world) measure(ctx context.Context) (r result, err error) {
	asked := slices.Clone(w.records)
	mix(asked)
	took := map[kind][]time.Duration{}
	for n, one := range asked {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		if n > 0 && n%1000 == 0 {
			fmt.Printf("asked for %d\n", n)
		}
		// As a command does: its read budget of the stream is its own, and unspent.
		finder := *w.finder
		finder.Stream = func(ctx context.Context) (find.Stream, error) {
			return stream.Open(ctx, w.streams, names.Stream, stream.Settings{})
		}
		began := time.Now()
		answer := finder.Find(ctx, question(one))
		took[one.kind] = append(took[one.kind], time.Since(began))
		if wrong := one.contradicts(answer); wrong != "" {
			if r.Wrong++; r.Wrong <= mostShown {
				text, _ := json.Marshal(answer)
				fmt.Printf("%s is wrong: %s: %s\n", one.id, wrong, text)
			}
		}
	}
	var all []time.Duration
	for _, share := range shares {
		of := took[share.kind]
		all = append(all, of...)
		fmt.Printf("%-8s %5d ids, p50 %6.1f ms, p99 %6.1f ms\n", share.kind, len(of), quantile(of, 0.5), quantile(of, 0.99))
	}
	r.IDs, r.P50, r.P99 = len(all), quantile(all, 0.5), quantile(all, 0.99)
	return r, nil
}

// question is what is asked. The request's id goes with it only where nothing else finds
// the record.
func question(r *record) find.Question {
	q := find.Question{Tenant: tenant, ID: r.id, Most: find.DefaultMost}
	if r.kind == queued {
		q.Request = r.request
	}
	return q
}

// contradicts says what of an answer is not so; nothing, if it is right.
func (r *record) contradicts(a find.Answer) string {
	is := map[kind]bool{
		indexed: len(a.Index.Found) == 1 && a.Index.Found[0].ID == r.id,
		dead:    len(a.Ledger.Found) == 1 && a.Ledger.Found[0].ID == r.id && a.Ledger.Found[0].Error.Type == "document_parsing_exception",
		held:    len(a.Batches.Found) == 1 && a.Batches.Found[0].Workflow == r.workflow && a.Batches.Found[0].Sequence == r.sequence,
		queued:  len(a.Queue.Found) == 1,
	}
	for _, k := range []kind{indexed, dead, held, queued} {
		if is[k] != (r.kind == k) {
			return fmt.Sprintf("it is %s, and that it is %s is %t", r.kind, k, is[k])
		}
	}
	for place, state := range map[string]string{"index": a.Index.State, "ledger": a.Ledger.State, "batches": a.Batches.State, "queue": a.Queue.State, "ingest": a.Ingest.State} {
		if state == find.Failed || state == find.Incomplete {
			return place + " is " + state
		}
	}
	if a.Found != (r.kind != unknown) {
		return fmt.Sprintf("it is %s, and found is %t", r.kind, a.Found)
	}
	return ""
}

// processes measures the command.
func (w *world) processes(ctx context.Context, count int) (p50 float64, err error) {
	some := slices.Clone(w.records)
	mix(some)
	var took []time.Duration
	for _, r := range some[:count] {
		args := []string{"find", "--tenant", tenant, r.id}
		if r.kind == queued {
			args = append(args, "--request", r.request)
		}
		began := time.Now()
		_, err := w.pipeline.Starter(ctx, args...)
		var exit *exec.ExitError
		if err != nil && (r.kind != unknown || !errors.As(err, &exit)) {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	fmt.Printf("%-8s %5d ids, p50 %6.1f ms, p99 %6.1f ms\n", "command", len(took), quantile(took, 0.5), quantile(took, 0.99))
	return quantile(took, 0.5), nil
}

// quantile is one of durations, in milliseconds to a tenth.
func quantile(of []time.Duration, q float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(100*time.Microsecond)) / float64(time.Millisecond)
}
