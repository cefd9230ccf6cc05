package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/test/kit/tap"
)

// experiment is what serves all runs.
type experiment struct {
	options       options
	name          string // of streams, tenant, queues and bucket
	elasticsearch string // its address, past the tap
	temporal      string // its address
	aws           aws.Config
	streams       *kinesis.Client
	env           []string // where the servers are, for those that the tap watches
	dir           string   // of logs
	programs      pipeline.Programs
	lambda        string // path of the program
	tap           *tap.Tap
	to            io.Writer
}

func run(ctx context.Context, o options) (err error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	// Kinesalite, since in MiniStack a call to a stream costs the more the more
	// records the stream has: who reads more often would be held up more.
	stack, programs, err := pipeline.StartServers(ctx, local.Options{Root: root, Progress: os.Stdout, Services: []string{local.Kinesalite}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	streams := stack.Service(local.Kinesalite).URL()
	e := &experiment{
		options: o, name: "experiment", programs: programs, to: os.Stdout,
		elasticsearch: stack.Service(local.Elasticsearch).URL(), aws: local.AWSConfig(stack.Service(local.AWS).URL()),
		temporal: stack.Service(local.Temporal).Address(),
		streams:  kinesis.NewFromConfig(local.AWSConfig(streams)),
		env:      append(stack.Env(), "AWS_ENDPOINT_URL_KINESIS="+streams), dir: stack.LogDir(), lambda: filepath.Join(root, ".local", "bin", "lambda"),
	}
	if err := e.build(ctx, root); err != nil {
		return err
	}
	results, err := e.compare(ctx)
	if err != nil {
		return err
	}
	return report(results, o, os.Stdout)
}

// build compiles the consumer that Millrace is compared with.
func (e *experiment) build(ctx context.Context, root string) error {
	return local.Build(ctx, root, []local.Program{{Path: e.lambda, Source: "./test/experiment/lambda/cmd"}})
}

// compare runs the contenders in alternation, and returns what came of each.
func (e *experiment) compare(ctx context.Context) (results []*result, err error) {
	if e.tap, err = tap.Start(ctx, e.elasticsearch); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.tap.Close()) }()
	for i, variable := range e.env {
		e.env[i] = strings.ReplaceAll(variable, e.elasticsearch, e.tap.URL())
	}
	for _, contender := range []string{before, after, millrace} {
		if e.options.runs(contender) {
			results = append(results, &result{contender: contender})
		}
	}
	for round := range e.options.Rounds {
		for i := range results {
			of := results[(i+round)%len(results)] // the order rotates
			one, err := e.measure(ctx, of.contender, round)
			if err != nil {
				return nil, fmt.Errorf("run %d of %s: %w", round+1, of.contender, err)
			}
			of.runs = append(of.runs, one)
		}
	}
	return results, nil
}

// say prints a line of what happens.
func (e *experiment) say(about, format string, args ...any) {
	fmt.Fprintf(e.to, "%-14s %s\n", about, fmt.Sprintf(format, args...))
}

// forget deletes what an earlier run indexed, so that every run finds
// Elasticsearch the same.
func (e *experiment) forget(ctx context.Context) error {
	indices, err := e.ask(ctx, http.MethodGet, "/_cat/indices/"+pattern+"?h=index")
	if err != nil {
		return err
	}
	names := strings.Fields(string(indices))
	if len(names) == 0 {
		return nil
	}
	_, err = e.ask(ctx, http.MethodDelete, "/"+strings.Join(names, ","))
	return err
}

// pattern is of the indices of the day.
var pattern = "telemetry-*-" + day.Format("2006.01.02")

func (e *experiment) ask(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, e.elasticsearch+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask Elasticsearch: %w", err)
	}
	defer response.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		return nil, fmt.Errorf("read Elasticsearch's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: Elasticsearch answered %s: %.300s", method, path, response.Status, text.Bytes())
	}
	return text.Bytes(), nil
}
