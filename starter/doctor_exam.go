package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/client"

	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/queue"
	"millrace/internal/stream"
)

// exam is what the checks of one run share.
type exam struct {
	doctorCommand
	names     *config.Resources
	namespace string
	loadAWS   func(context.Context) (aws.Config, error)
	amazon    *dated // what time AWS says that it is

	aws       asked[aws.Config]
	temporal  asked[client.Client]
	stream    asked[*stream.Stream]
	fallback  asked[queue.Attributes]
	deadQueue asked[queue.Attributes]
	bucket    asked[archive.Rights] // to list it, at the least
	backup    asked[archive.Rights]
	cluster   asked[*index.Client]
}

// asked is something that several checks need, and that is asked for once.
type asked[T any] struct {
	what string // the check that reports why it is not there
	get  func(context.Context) (T, error)

	once  sync.Once
	done  chan struct{}
	value T
	err   error
}

// report asks for the check that reports why it is not there.
func (a *asked[T]) report(ctx context.Context) (none T, err error) {
	a.once.Do(func() {
		a.done = make(chan struct{})
		go func() {
			defer close(a.done)
			a.value, a.err = a.get(ctx)
		}()
	})
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// need asks for all other checks: they are skipped where it is not there.
func (a *asked[T]) need(ctx context.Context) (T, error) {
	value, err := a.report(ctx)
	if away := (awayError{}); err != nil && !errors.As(err, &away) {
		err = awayError{a.what}
	}
	return value, err
}

func newExam(d doctorCommand, by who, r *config.Resources, logger *slog.Logger) *exam {
	e := &exam{doctorCommand: d, names: r, namespace: client.DefaultNamespace, loadAWS: config.AWS, amazon: &dated{}}
	e.temporal.what, e.temporal.get = "temporal server", func(ctx context.Context) (client.Client, error) {
		options, err := config.Temporal(logger)
		if err != nil {
			return nil, err
		}
		e.namespace = cmp.Or(options.Namespace, e.namespace)
		connected, err := dial(ctx, by, logger)
		return asker{connected, d.CheckTimeout}, err
	}
	e.cluster.what, e.cluster.get = "elasticsearch server", e.openCluster
	e.aws.what, e.aws.get = "aws credentials", e.openAWS
	e.stream.what, e.stream.get = "aws stream", inAWS(e, func(ctx context.Context, cfg aws.Config) (*stream.Stream, error) {
		return stream.Open(ctx, kinesis.NewFromConfig(cfg), r.Stream, stream.Settings{})
	})
	attributes := func(name *string) func(context.Context) (queue.Attributes, error) {
		return inAWS(e, func(ctx context.Context, cfg aws.Config) (queue.Attributes, error) {
			return queue.Describe(ctx, sqs.NewFromConfig(cfg), *name)
		})
	}
	e.fallback.what, e.fallback.get = "aws fallback queue", attributes(&r.Queue)
	e.deadQueue.what, e.deadQueue.get = "aws dead-letter queue", attributes(&r.DeadLetters)
	rights := func(name *string) func(context.Context) (archive.Rights, error) {
		return inAWS(e, func(ctx context.Context, cfg aws.Config) (archive.Rights, error) {
			has := archive.Open(config.S3(cfg), *name).Rights(ctx)
			return has, has.List
		})
	}
	e.bucket.what, e.bucket.get = "aws bucket", rights(&r.Bucket)
	e.backup.what, e.backup.get = "aws backup bucket", rights(&r.Backups)
	return e
}

// inAWS asks something of AWS, once there are credentials.
func inAWS[T any](e *exam, ask func(context.Context, aws.Config) (T, error)) func(context.Context) (T, error) {
	return func(ctx context.Context) (none T, err error) {
		cfg, err := e.aws.need(ctx)
		if err != nil {
			return none, err
		}
		return ask(ctx, cfg)
	}
}

func (e *exam) openAWS(ctx context.Context) (aws.Config, error) {
	cfg, err := e.loadAWS(ctx)
	if err != nil {
		return cfg, err
	}
	if _, err = cfg.Credentials.Retrieve(ctx); err != nil {
		return cfg, fmt.Errorf("retrieve the credentials: %w", err)
	}
	e.amazon.HTTPClient = cfg.HTTPClient
	cfg.HTTPClient = e.amazon
	return cfg, nil
}

func (e *exam) openCluster(ctx context.Context) (c *index.Client, err error) {
	var cfg aws.Config // for requests that are signed, and only those
	if e.AWSSigned {
		if cfg, err = e.aws.need(ctx); err != nil {
			return nil, err
		}
	}
	if c, err = index.Open(e.Settings(cfg)); err != nil {
		return nil, err
	}
	_, err = c.Server(ctx)
	return c, err
}

// checks are all checks, in the order in which they are printed.
func (e *exam) checks() []check {
	processes := e.processes()
	all := slices.Concat(
		e.temporalChecks(), e.awsChecks(), e.clusterChecks(), e.processChecks(processes), e.clockChecks(processes),
		e.retentionChecks(), e.pollerChecks(), e.workflowChecks(), e.scheduleChecks(), e.recordChecks(),
	)
	if e.Sink.Kind == config.SinkElasticsearch {
		return all
	}
	for i := range all {
		if all[i].cluster {
			all[i].look = func(context.Context) (verdict, error) { return skip("--sink " + e.Sink.Kind + " needs none"), nil }
		}
	}
	return all
}
