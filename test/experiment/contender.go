package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/test/experiment/lambda"
)

// The contenders.
const (
	before   = "before"   // (a) a batch that fails is tried again whole
	after    = "after"    // (b) bisect, and a cache of ids
	millrace = "millrace" // (c)
)

// consumer moves the stream of a run into Elasticsearch.
type consumer interface {
	// stats are of a consumer that is not Millrace.
	stats(ctx context.Context) (lambda.Stats, error)
	stop(ctx context.Context) error
}

// start starts a contender and waits until it consumes.
func (e *experiment) start(ctx context.Context, contender, dir string, p *pipeline.Pipeline, stream string) (consumer, error) {
	if contender == millrace {
		return startMillrace(ctx, p)
	}
	ports, err := local.ChoosePorts(false, 0)
	if err != nil {
		return nil, fmt.Errorf("choose a port for the consumer: %w", err)
	}
	s := e.options.Lambda
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	args := []string{
		"--listen", address, "--stream", stream, "--batch", strconv.Itoa(s.Batch), "--poll", s.Poll.String(),
		"--retries", strconv.Itoa(s.Retries), "--backoff", s.Backoff.String(), "--longest", s.Longest.String(),
	}
	if contender == after {
		args = append(args, "--bisect", "--dedup")
	}
	process, err := pipeline.Start(pipeline.Command{
		Name: contender, Program: e.lambda, Args: args, Log: filepath.Join(dir, contender+".log"),
		Env: slices.Concat(os.Environ(), e.env),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	f := &function{process, "http://" + address}
	if err := process.AwaitReady(ctx, f.url); err != nil {
		process.Kill()
		return nil, err
	}
	return f, nil
}

// function is a running consumer of package lambda.
type function struct {
	*pipeline.Process
	url string
}

func (f *function) stats(ctx context.Context) (s lambda.Stats, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return s, fmt.Errorf("make a request: %w", err)
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return s, fmt.Errorf("ask the consumer: %w", err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("decode the consumer's answer: %w", err)
	}
	return s, nil
}

func (f *function) stop(context.Context) error { return f.Stop() }

// worker is Millrace's worker, as a user would deploy it.
type worker struct{ *pipeline.Pipeline }

func startMillrace(ctx context.Context, p *pipeline.Pipeline) (consumer, error) {
	if _, err := p.StartWorker(ctx); err != nil {
		return nil, err
	}
	w := worker{p}
	if err := errors.Join(p.StartWorkflows(ctx), p.AwaitShards(ctx)); err != nil {
		return nil, errors.Join(err, w.stop(ctx))
	}
	return w, nil
}

func (worker) stats(context.Context) (lambda.Stats, error) { return lambda.Stats{}, nil }

// stop ends the workflows; the pipeline stops the worker itself.
func (w worker) stop(ctx context.Context) error {
	var errs []error
	for _, stop := range [][]string{{"process", "stop", "--yes"}, {"redrive", "stop"}} {
		_, err := w.Starter(ctx, stop...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
