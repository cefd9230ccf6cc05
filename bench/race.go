package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
)

const drainWithin = 10 * time.Minute

// contender moves records from one end to another.
type contender struct {
	name    string
	start   starter
	records int // that it drains; 0: as many as any
	runs    []drained
}

// starter starts a contender for a run of that name.
type starter func(ctx context.Context, run string) (drainer, error)

// drainer is a contender's process while it drains.
type drainer struct {
	*pipeline.Process
	worker *pipeline.Program                        // nil of a bare loop
	began  func(context.Context) (time.Time, error) // when it read the first record
	finish func(context.Context) error
	idle   int64         // bytes that it had resident before it began
	start  time.Duration // of processors, that it took until it was ready; a bare loop's counts
}

// drained is what one run took.
type drained struct {
	rate  float64 // records a second
	cpu   float64 // seconds per million records, from when the process is ready until it has ended
	start float64 // seconds, until then
	peak  int64   // bytes; zero of a bare loop
	idle  int64   // bytes, before it began
	busy  float64 // share of all processors
	other map[string]float64
}

// Figures of runs.
func rateOf(d drained) float64  { return d.rate }
func cpuOf(d drained) float64   { return d.cpu }
func peakOf(d drained) float64  { return mebibytes(d.peak) }
func startOf(d drained) float64 { return d.start }
func idleOf(d drained) float64  { return mebibytes(d.idle) }
func busyOf(d drained) float64  { return d.busy }

// otherOf is what something else used, in CPU seconds per million records.
func otherOf(name string) func(drained) float64 {
	return func(d drained) float64 { return d.other[name] }
}

// alternate runs contenders by turns, each that often after a
// run that is discarded. once makes one run, of which run is the name.
func (b *bench) alternate(ctx context.Context, what string, runs int, contenders []*contender, once func(ctx context.Context, c *contender, run string) (drained, error)) error {
	for run := range runs + 1 {
		for i := range contenders {
			c := contenders[(i+run)%len(contenders)] // the order rotates
			result, err := b.within(ctx, c, fmt.Sprintf("bench-%s-%d-%d", what, run, i), once)
			if err != nil {
				return fmt.Errorf("run %d of the %s: %w", run, c.name, err)
			}
			if run > 0 {
				c.runs = append(c.runs, result)
			}
			say(what, "%-31s %7.0f records/s %6.2f CPU s per million%s", c.name, result.rate, result.cpu, discarded(run))
		}
	}
	return nil
}

// discarded says so of the first run.
func discarded(run int) string {
	if run == 0 {
		return "  (discarded)"
	}
	return ""
}

func (b *bench) within(ctx context.Context, c *contender, run string, once func(context.Context, *contender, string) (drained, error)) (drained, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, drainWithin, fmt.Errorf("not drained within %v", drainWithin))
	defer cancel()
	return once(ctx, c, run)
}

// measured starts a contender, waits until it is done, and says what it took.
// await returns how many records count, and when the last of them was where it
// is to be; beside are the servers that are no part of the stack.
func (b *bench) measured(ctx context.Context, c *contender, run string, records int, beside []*pipeline.Process,
	await func(context.Context, drainer) (int, time.Time, error),
) (drained, error) {
	before, err := b.times(beside...)
	if err != nil {
		return drained{}, err
	}
	machineBefore, err := readMachine()
	if err != nil {
		return drained{}, err
	}
	d, err := c.start(ctx, run)
	if err != nil {
		return drained{}, err
	}
	defer d.Kill()
	counted, end, err := await(ctx, d)
	if err != nil {
		return drained{}, fmt.Errorf("%w; its log is %s", err, d.Log)
	}
	after, err := b.times(beside...)
	if err != nil {
		return drained{}, err
	}
	machineAfter, err := readMachine()
	if err != nil {
		return drained{}, err
	}
	began, err := d.began(ctx)
	var peak int64
	if d.worker != nil { // a bare loop may have ended already
		var peakErr error
		peak, peakErr = pipeline.PeakMemory(d.Pid())
		err = errors.Join(err, peakErr)
	}
	if err := errors.Join(err, d.finish(ctx)); err != nil {
		return drained{}, err
	}
	result := drained{
		rate: float64(counted) / end.Sub(began).Seconds(),
		cpu:  perMillion(d.CPU()-d.start, records), start: d.start.Seconds(), peak: peak, idle: d.idle, busy: machineAfter.busySince(machineBefore), other: map[string]float64{},
	}
	for name, used := range after.since(before) {
		result.other[name] = perMillion(used, records)
	}
	return result, nil
}

// serve starts one of the benchmarks' own servers, in a process of its own, and
// returns its address. It is ready when it answers at a path.
func (b *bench) serve(ctx context.Context, name, program, ready string, args ...string) (*pipeline.Process, string, error) {
	ports, err := local.ChoosePorts(false, 0)
	if err != nil {
		return nil, "", fmt.Errorf("choose a port for the %s: %w", name, err)
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	process, err := pipeline.Start(pipeline.Command{
		Name: name, Program: program, Log: filepath.Join(b.stack.LogDir(), name+".log"), Args: append([]string{"--listen", address}, args...),
	})
	if err != nil {
		return nil, "", fmt.Errorf("start the %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := process.AwaitReady(ctx, "http://"+address+ready); err != nil {
		process.Kill()
		return nil, "", fmt.Errorf("start the %s: %w", name, err)
	}
	return process, "http://" + address, nil
}

// ask gets JSON from one of the benchmarks' own servers.
func ask(ctx context.Context, url string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return fmt.Errorf("ask a server: %w", err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("decode the answer of %s: %w", url, err)
	}
	return nil
}
