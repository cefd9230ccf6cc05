// Command cmd is the worker: it polls Temporal's task queues and does the work
// that workflows order.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/backups"
	"millrace/activities/deadletters"
	"millrace/activities/ingest"
	"millrace/activities/process"
	"millrace/activities/redrive"
	"millrace/activities/supervise"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/config"
	"millrace/internal/deadletter"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/ops"
	"millrace/internal/sink"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/tracing"
	"millrace/workers"
	"millrace/workflows"
	"millrace/workflows/launch"
)

type settings struct {
	Listen     string   `help:"Address of /healthz, /readyz and /metrics." default:"127.0.0.1:9090" env:"MILLRACE_WORKER_LISTEN"`
	Queues     []string `help:"Task queues to poll: ingest, redrive, process, range, index, backup, copy, dead, recover, sweep, snapshot, canary; empty: all that the sink can serve, canary with --canary-urls alone." enum:"ingest,redrive,process,range,index,backup,copy,dead,recover,sweep,snapshot,canary" default:"" env:"MILLRACE_QUEUES"`
	DedupIDs   int      `name:"dedup-ids" help:"Ids of indexed records to cache, 27 bytes each." default:"10000000" env:"MILLRACE_DEDUP_IDS"`
	IndexSlots int      `help:"Maximum shards to index at once." default:"16" env:"MILLRACE_INDEX_SLOTS"`
	RangeSlots int      `help:"Maximum ranges of ProcessBatch workflows to process at once, up to 5 MiB each." default:"50" env:"MILLRACE_RANGE_SLOTS"`
	CopySlots  int      `name:"backup-slots" help:"Maximum shards to back up at once." default:"16" env:"MILLRACE_BACKUP_SLOTS"`
	BulkBytes  int      `help:"Maximum bytes of a bulk request; 0: 5 MiB." default:"0" env:"MILLRACE_BULK_BYTES"`
	Bulks      int      `name:"bulk-requests" help:"Maximum bulk requests in flight, of all shards together; 0: 16." default:"0" env:"MILLRACE_BULK_REQUESTS"`

	BulkTimeout time.Duration `help:"Timeout of a request to Elasticsearch. A bulk that times out twice is split." default:"30s" env:"MILLRACE_BULK_TIMEOUT"`

	config.Resources      `embed:"" group:"aws"`
	stream.Settings       `embed:"" group:"aws"`
	Sinking               `embed:"" group:"sink"`
	config.Elasticsearch  `embed:"" group:"elasticsearch"`
	Processing            process.Limits `embed:"" group:"processing"`
	workflows.BatchLimits `embed:"" group:"processing"`
	Redriving             redrive.Limits `embed:"" group:"redriving"`
	Recovering            `embed:"" group:"recovering"`
	Backup                backups.Limits   `embed:"" group:"backup"`
	Canary                Canary           `embed:"" group:"canary"`
	Tracing               tracing.Settings `embed:"" group:"tracing"`
	config.Versioning     `embed:"" group:"versioning"`
	config.Logging        `embed:"" group:"logging"`
}

const description = `Polls Temporal's task queues and moves telemetry from the stream into Elasticsearch, or files.

AWS is configured by its own environment and files (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, …), and so is Temporal
(TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS, TEMPORAL_API_KEY, …). Stream, queues, bucket and templates are made by
"starter setup".`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var s settings
	kong.Parse(&s, options()...)
	if err := s.run(ctx); err != nil {
		slog.Error("the worker ends", "error", err)
		os.Exit(1)
	}
}

// options are how the command line is read and explained.
func options() []kong.Option {
	return []kong.Option{kong.Name("worker"), kong.Description(description), kong.ExplicitGroups([]kong.Group{
		{Key: "aws", Title: "AWS"}, {Key: "sink", Title: "Sink"}, {Key: "elasticsearch", Title: "Elasticsearch"}, {Key: "processing", Title: "Processing"},
		{Key: "redriving", Title: "Redriving"}, {Key: "recovering", Title: "Recovering"}, {Key: "backup", Title: "Backup"}, {Key: "canary", Title: "Canary"},
		{Key: "tracing", Title: "Tracing"}, {Key: "versioning", Title: "Versioning"}, {Key: "logging", Title: "Logging"},
	})}
}

// Validate reports every setting that cannot work.
func (s *settings) Validate() error {
	var errs []error
	if s.DedupIDs < 1 {
		errs = append(errs, fmt.Errorf("--dedup-ids: %d is less than 1", s.DedupIDs))
	}
	if s.IndexSlots < 1 {
		errs = append(errs, fmt.Errorf("--index-slots: %d is less than 1", s.IndexSlots))
	}
	if s.RangeSlots < 1 {
		errs = append(errs, fmt.Errorf("--range-slots: %d is less than 1", s.RangeSlots))
	}
	if s.CopySlots < 1 {
		errs = append(errs, fmt.Errorf("--backup-slots: %d is less than 1", s.CopySlots))
	}
	if s.BulkBytes < 0 || s.BulkBytes > sink.MaxBulkBytes {
		errs = append(errs, fmt.Errorf("--bulk-bytes: %d is not between 0 and %d", s.BulkBytes, sink.MaxBulkBytes))
	}
	if s.Bulks < 0 {
		errs = append(errs, fmt.Errorf("--bulk-requests: %d is negative", s.Bulks))
	}
	if s.BulkTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--bulk-timeout: %s is not positive", s.BulkTimeout))
	}
	return errors.Join(append(errs,
		s.validateQueues(), s.Canary.Validate(), s.validateCanary(), s.Resources.Validate(), s.Sinking.Validate(), s.Elasticsearch.Validate(), s.Processing.Validate(), s.BatchLimits.Validate(), s.Redriving.Validate(), s.Recovering.Validate(),
		s.Backup.Validate(), s.Tracing.Validate())...)
}

// run works until ctx ends, and then shuts down in reverse order.
func (s *settings) run(ctx context.Context) (err error) {
	logger := s.Logger()
	if err := s.Canary.readKey(); err != nil {
		return err
	}
	cfg, err := config.AWS(ctx)
	if err != nil {
		return err
	}
	to, err := s.open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.close()) }()
	tracer, err := tracing.New(ctx, s.Tracing, "worker")
	if err != nil {
		return err
	}
	defer tracer.Close()
	temporal, err := config.DialLazily(logger, s.Versioning, tracer.Interceptors()...)
	if err != nil {
		return err
	}
	defer temporal.Close()

	phase := &phases{}
	phase.enter("it polls no task queue yet: Temporal does not answer")
	inAWS := workers.Checks(cfg, s.Resources)
	checks := ops.Checks{
		Required: map[string]ops.Check{
			workers.Temporal: func(ctx context.Context) error { return config.CheckTemporal(ctx, temporal) },
			workers.Kinesis:  inAWS[workers.Kinesis],
			workers.S3:       inAWS[workers.S3],
			workers.Starting: phase.check,
		},
		Optional: map[string]ops.Check{workers.SQS: inAWS[workers.SQS]},
	}
	maps.Copy(checks.Required, to.required)
	maps.Copy(checks.Optional, to.optional)
	stopServing, err := ops.Serve(s.Listen, ops.Handler(checks))
	if err != nil {
		return err
	}
	defer stopServing()

	r := remembered{dedup.New(s.DedupIDs), delay.New(), tracer}
	r.seen.Register(prometheus.DefaultRegisterer)
	prometheus.MustRegister(r.delays)
	for ctx.Err() == nil {
		if err := s.work(ctx, phase, temporal, workers.NewBackends(cfg, s.Resources, s.Settings), to, r); err != nil {
			return err
		}
	}
	return nil
}

// remembered is what a worker keeps when it begins again.
type remembered struct {
	seen   *dedup.Cache
	delays *delay.Histogram
	tracer *tracing.Tracer
}

// work polls what can be served at once, and the rest when the stream is found.
// The task queue of collectors is not kept waiting: their batches go into the
// fallback queue meanwhile. It ends with ctx, or when the stream was deleted and
// made anew: all that knows the stream is to be made anew then, too.
func (s *settings) work(ctx context.Context, phase *phases, temporal client.Client, backends *workers.Backends, to target, r remembered) error {
	var running []func()
	defer func() {
		var stopping sync.WaitGroup
		for _, stop := range running {
			stopping.Go(stop)
		}
		stopping.Wait()
	}()
	poll := func(all map[string]func() worker.Worker) error {
		stop, err := workers.Start(ctx, all)
		if err == nil {
			running = append(running, stop)
		}
		return err
	}
	if err := poll(s.asked(s.withoutStream(temporal, backends, to))); err != nil {
		return nil // asked to end before it began
	}
	phase.enter("the stream is not found yet: until then it polls the task queues of ingest and of the canary alone")
	if err := workers.RetryUntilDone(ctx, "find the stream", "make it with starter setup, and see that the credentials allow it", backends.FindStream); err != nil {
		return nil
	}
	phase.enter("it does not poll all task queues yet: Temporal does not answer")
	if err := poll(s.asked(s.withStream(temporal, backends, to, r))); err != nil {
		return nil
	}
	phase.enter("")
	slog.Info("working", "queues", s.polled(), "sink", s.Sink.Kind, "stream", s.Stream, "ops", s.Listen)
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	go backends.Stream.Watch(watching)
	select {
	case <-ctx.Done():
		slog.Info("stopping: shards are drained, and go on in other workers")
	case <-backends.Stream.Replaced():
		phase.enter("the stream was deleted and made anew: it begins again")
		slog.Warn("the stream was deleted and made anew: beginning again", "stream", s.Stream)
	}
	return nil
}

// phases are those of starting: what a worker lacks in each, nothing in the last.
type phases struct{ lacks atomic.Pointer[string] }

func (p *phases) enter(lacks string) { p.lacks.Store(&lacks) }

func (p *phases) check(context.Context) error {
	if lacks := *p.lacks.Load(); lacks != "" {
		return errors.New(lacks)
	}
	return nil
}

// asked keeps the task queues that were asked for.
func (s *settings) asked(all map[string]func() worker.Worker) map[string]func() worker.Worker {
	maps.DeleteFunc(all, func(queue string, _ func() worker.Worker) bool { return !slices.Contains(s.polled(), queue) })
	return all
}

func (s *settings) launcher(c client.Client) launch.Launcher {
	return launch.Launcher{Client: c, Limits: s.BatchLimits}
}

// withoutStream are the starters of the workers that need no stream.
func (s *settings) withoutStream(c client.Client, b *workers.Backends, to target) map[string]func() worker.Worker {
	all := map[string]func() worker.Worker{
		"ingest": func() worker.Worker {
			return workers.Ingest(c, &ingest.Ingester{Intake: b.Intake, Batches: s.launcher(c), DeadLetters: b.DeadLetters})
		},
	}
	maps.Copy(all, s.canary(c, to))
	return all
}

// withStream are the starters of all others, by task queue.
func (s *settings) withStream(c client.Client, b *workers.Backends, to target, r remembered) map[string]func() worker.Worker {
	host, _ := os.Hostname() // for the log: an empty name is as good
	identity := fmt.Sprintf("%d@%s", os.Getpid(), host)
	launcher := s.launcher(c)
	processor := s.processor(b, to, r, launcher, identity)
	all := map[string]func() worker.Worker{
		"redrive": func() worker.Worker {
			return workers.Redrive(c, &redrive.Redriver{
				Queue: b.Fallback, Stream: b.Stream, DeadLetters: b.DeadLetters, Limits: s.Redriving, Worker: identity,
			})
		},
		"process": func() worker.Worker {
			return workers.Process(c, processor, &supervise.Supervisor{
				Stage: "process", Stream: b.StreamID(), Shards: b.Stream, Workflows: launcher, Ledger: b.Ledger,
				Untold: deadletter.NewTeller(b.Ledger, b.DeadLetterQueue), Reconcile: launcher.StartReconcile,
			})
		},
		"range": func() worker.Worker { return workers.Range(c, processor, s.RangeSlots) },
		"index": func() worker.Worker { return workers.Index(c, processor, s.IndexSlots) },
		"backup": func() worker.Worker {
			return workers.Backup(c, &supervise.Supervisor{
				Stage: "backup", Stream: b.StreamID(), Shards: b.Stream, Workflows: launch.Backup{Launcher: launcher},
			})
		},
		"copy": func() worker.Worker { return workers.Copy(c, s.archivist(b, identity), s.CopySlots) },
		"dead": func() worker.Worker {
			return workers.Dead(c, &deadletters.Keeper{
				Queue: b.DeadLetterQueue, Stream: b.StreamID(), Source: b.Stream, Ledger: b.Ledger, Worker: identity,
			}, to.reprocessor(&deadletters.Reprocessor{
				Stream: b.StreamID(), Source: b.Stream, Ledger: b.Ledger, Documents: to.documents, Intake: b.NewIntake,
				Indexer: processor.Indexer, BulkRecords: processor.Limits.BulkRecords, Workflows: launcher, Worker: identity,
			}))
		},
	}
	if to.cluster == nil {
		return all
	}
	recoverer := b.Recoverer(to.cluster, processor.Indexer.Limiter, launcher, s.Repository.Name, identity)
	auditor := b.Auditor(to.cluster, processor.Indexer.Limiter, launcher, identity)
	all["recover"] = func() worker.Worker { return workers.Recover(c, recoverer, auditor) }
	all["sweep"] = func() worker.Worker { return workers.Sweep(c, &recoverer.Sweeper, s.RecoverSlots) }
	all["snapshot"] = func() worker.Worker { return workers.Snapshot(c, b.Snapshotter(to.cluster, launcher)) }
	return all
}

// processor is what indexes, with the cache and the limiter that all shards of
// this process share.
func (s *settings) processor(b *workers.Backends, to target, r remembered, launcher launch.Launcher, identity string) *process.Processor {
	limits := s.Processing.WithDefaults()
	indexer := indexing.New(indexing.Settings{
		Bulk: to.bulker(b), Lookup: to.lookup,
		Limiter: limiter.New(s.Bulks, s.BulkBytes), Seen: r.seen, Delay: r.delays, Tracer: r.tracer, CompareRate: limits.CompareRate,
	})
	return process.New(process.Processor{
		Stream: b.StreamID(), Source: source.Stream{Stream: b.Stream}, Indexer: indexer,
		Batches: launcher, Drains: launcher, DeadLetters: b.DeadLetters, Ledger: b.Ledger, Limits: limits, Worker: identity,
	})
}

// archivist is what backs up.
func (s *settings) archivist(b *workers.Backends, identity string) *backups.Archivist {
	l := s.Backup
	store := b.Backups.Under(backup.Prefix).Writing(archive.Writing{Encryption: l.Encryption, KMSKey: l.KMSKey, StorageClass: l.StorageClass})
	return backups.NewArchivist(backups.Archivist{
		Stream: b.StreamID(), Source: backups.Source{Stream: b.Stream, FanOut: l.FanOut}, Store: store,
		Ends: b.Backups.Under(backup.EndsPrefix), Losses: b.DeadLetters,
		Limits: l, Worker: identity,
	})
}
