package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/workflows"
)

type setupCommand struct {
	Shards         int    `help:"Shards of the stream, if setup creates it." default:"4"`
	Form           string `help:"Form in which records are put into the stream, if setup creates it: see starter format. Where Firehose or the KCL reads the stream, kpl." enum:"single,kpl,pack" default:"pack"`
	RetentionHours int    `help:"Hours for which the stream keeps a record. A longer retention stays." default:"24"`
	IndexShards    int    `help:"Primary shards of each new index." default:"1" env:"MILLRACE_INDEX_SHARDS"`
	Replicas       int    `help:"Replicas of each new index; 0 on a single node." default:"1" env:"MILLRACE_INDEX_REPLICAS"`

	windowFlags

	Sink                 config.Sink `embed:""`
	config.Elasticsearch `group:"elasticsearch"`
}

// Help is the details of starter setup --help.
func (setupCommand) Help() string {
	return "Run it as often as you like, also beside a running pipeline: it leaves existing resources unchanged, but for " +
		"the index templates, which are brought to this version and to the numbers given. Indices that exist do not change."
}

// Kinesis keeps records for a year at the longest (API reference of
// IncreaseStreamRetentionPeriod).
const longestRetentionHours = 8760

// Validate reports numbers that a service would refuse.
func (s setupCommand) Validate() error {
	var errs []error
	if s.Shards < 1 {
		errs = append(errs, fmt.Errorf("--shards: %d", s.Shards))
	}
	if s.RetentionHours < int(stream.ShortestRetention.Hours()) || s.RetentionHours > longestRetentionHours {
		errs = append(errs, fmt.Errorf("--retention-hours: %d is not from %v to %d", s.RetentionHours, stream.ShortestRetention.Hours(), longestRetentionHours))
	}
	if err := s.windowFlags.Validate(); err != nil {
		errs = append(errs, err)
	}
	if err := s.layout().Validate(); err != nil {
		errs = append(errs, fmt.Errorf("--index-shards, --replicas: %w", err))
	}
	return errors.Join(errs...)
}

func (s setupCommand) layout() index.Layout {
	return index.Layout{Shards: s.IndexShards, Replicas: s.Replicas}
}

// step makes one thing and says what it found.
type step struct {
	what string
	make func(ctx context.Context) (created bool, note string, err error)
	help string // what to do when it fails
}

const (
	helpAWS           = "look at AWS_REGION, AWS_ENDPOINT_URL, the credentials, and their permissions"
	helpElasticsearch = "look at --elasticsearch-url, --elasticsearch-flavor and the credentials, or start it"
	helpForm          = "records are put one by one, which works: run `starter format pack` when AWS and Temporal answer"
	helpTemporal      = "look at TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE; where the operator API is closed to you, add the attributes as keywords by hand"
)

// Run makes everything, in the order in which the pipeline needs it. It goes
// on behind a step that fails, so that one run shows all that is wrong.
func (s setupCommand) Run(ctx context.Context, r *config.Resources, out output, logger *slog.Logger) error {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return err
	}
	streams, queues, buckets := kinesis.NewFromConfig(cfg), sqs.NewFromConfig(cfg), config.S3(cfg)
	failed, newStream := 0, false
	makeBucket := func(name string) step {
		return step{"bucket " + name, func(ctx context.Context) (bool, string, error) {
			created, err := archive.Create(ctx, buckets, name)
			return created, "", err
		}, helpAWS}
	}
	steps := []step{
		{"stream " + r.Stream, func(ctx context.Context) (created bool, note string, err error) {
			created, note, err = s.stream(ctx, streams, r.Stream)
			newStream = created
			return created, note, err
		}, helpAWS},
		{"queue " + r.Queue, func(ctx context.Context) (bool, string, error) { return makeQueue(ctx, queues, r.Queue) }, helpAWS},
		{"queue " + r.DeadLetters, func(ctx context.Context) (bool, string, error) { return makeQueue(ctx, queues, r.DeadLetters) }, helpAWS},
		makeBucket(r.Bucket),
		{"index of the ledger", func(ctx context.Context) (bool, string, error) { return beginIndex(ctx, r) }, helpAWS},
	}
	if s.Sink.Kind == config.SinkElasticsearch { // no other has templates
		steps = append(steps, step{"index templates", func(ctx context.Context) (bool, string, error) { return s.templates(ctx, cfg) }, helpElasticsearch})
	}
	steps = append(steps, step{"search attributes", func(ctx context.Context) (bool, string, error) { return makeSearchAttributes(ctx, logger) }, helpTemporal})
	steps = append(steps, step{"form of records", func(ctx context.Context) (bool, string, error) {
		return s.form(ctx, streams, r.Stream, newStream, logger)
	}, helpForm})
	if r.BackupBucket() != r.Bucket {
		steps = append(steps, makeBucket(r.BackupBucket()))
	}
	for _, step := range steps {
		created, note, err := step.make(ctx)
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted: run it again to make the rest")
		case err != nil:
			failed++
			fmt.Fprintf(out, "%s: FAILED: %v\n    %s\n", step.what, err, step.help)
		case created:
			fmt.Fprintf(out, "%s: created%s\n", step.what, note)
		default:
			fmt.Fprintf(out, "%s: there already%s\n", step.what, note)
		}
	}
	if s.Sink.Kind == config.SinkElasticsearch {
		fmt.Fprintln(out, s.room(ctx, cfg))
	}
	if failed > 0 {
		return fmt.Errorf("%d of the steps failed: see above, and run it again", failed)
	}
	return nil
}

func (s setupCommand) stream(ctx context.Context, c *kinesis.Client, name string) (created bool, note string, err error) {
	retention := time.Duration(s.RetentionHours) * time.Hour
	if created, err = stream.Create(ctx, c, name, s.Shards, retention); err != nil {
		return created, "", err
	}
	opened, err := stream.Open(ctx, c, name, stream.Settings{})
	if err != nil {
		return created, "", err
	}
	shards, err := opened.Shards(ctx)
	if err != nil {
		return created, "", err
	}
	open := 0
	for _, shard := range shards {
		if shard.Last == "" {
			open++
		}
	}
	note = fmt.Sprintf(", with %d shards, keeps records for %v hours", open, opened.Retention().Hours())
	if open != s.Shards {
		note += fmt.Sprintf(" (to have %d shards, reshard it: the pipeline follows)", s.Shards)
	}
	if opened.Retention() > retention {
		note += " (that is not made shorter)"
	}
	return created, note, nil
}

// form sets the form of a stream that is new, which no other program uses yet; of another it says the form that it has.
func (s setupCommand) form(ctx context.Context, c *kinesis.Client, name string, newStream bool, logger *slog.Logger) (created bool, note string, err error) {
	opened, err := stream.Open(ctx, c, name, stream.Settings{})
	if err != nil {
		return false, "", err
	}
	if !newStream {
		form, err := opened.Form(ctx)
		note = ", " + form.String()
		if form.Since.IsZero() {
			note += " (it was never set: starter format pack puts many documents into one record)"
		}
		return false, note, err
	}
	workers, err := dial(ctx, who("").orMe(), logger)
	if err != nil {
		return false, "", err
	}
	defer workers.Close()
	form, err := setForm(ctx, workers, opened, s.Form)
	return err == nil, ", " + form.String(), err
}

// beginIndex lets find know that the index has the whole ledger, which is empty.
func beginIndex(ctx context.Context, r *config.Resources) (created bool, note string, err error) {
	book, err := openLedger(ctx, r)
	if err != nil {
		return false, "", err
	}
	begun, complete, err := book.BeginIndex(ctx)
	if err == nil && !complete {
		note = ", without earlier entries: run `starter find --rebuild-index`"
	}
	return begun, note, err
}

func makeQueue(ctx context.Context, c *sqs.Client, name string) (created bool, note string, err error) {
	_, err = c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	var missing *types.QueueDoesNotExist
	if err != nil && !errors.As(err, &missing) {
		return false, "", fmt.Errorf("look for queue %s: %w", name, err)
	}
	created = err != nil
	return created, "", queue.Create(ctx, c, name)
}

func (s setupCommand) templates(ctx context.Context, cfg aws.Config) (created bool, note string, err error) {
	c, err := index.Open(s.Settings(cfg))
	if err != nil {
		return false, "", err
	}
	// Setup mends that none is ready, and reports itself that none answers.
	created = errors.Is(c.Ready(ctx), index.ErrNoTemplates)
	if err := c.Setup(ctx, s.layout()); err != nil {
		return false, "", err
	}
	return created, fmt.Sprintf(", for %d shards and %d replicas an index", s.IndexShards, s.Replicas), nil
}

const (
	// usableWithin bounds the time until Temporal's servers all know of new
	// search attributes; their caches are read again every few seconds.
	usableWithin = time.Minute
	usablePoll   = 50 * time.Millisecond
)

// makeSearchAttributes adds those that are missing and waits until they can be
// used.
func makeSearchAttributes(ctx context.Context, logger *slog.Logger) (created bool, note string, err error) {
	options, err := config.Temporal(logger)
	if err != nil {
		return false, "", err
	}
	namespace := options.Namespace
	if namespace == "" {
		namespace = client.DefaultNamespace
	}
	c, err := dial(ctx, who("").orMe(), logger)
	if err != nil {
		return false, "", err
	}
	defer c.Close()
	missing, err := missingAttributes(ctx, c, namespace)
	if err != nil || len(missing) == 0 {
		return false, "", err
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: missing,
	})
	if err != nil {
		return false, "", fmt.Errorf("add search attributes: %w", advise(err, ""))
	}
	if err := awaitAttributes(ctx, c, namespace); err != nil {
		return true, "", err
	}
	return true, ": " + strings.Join(slices.Sorted(maps.Keys(missing)), ", "), nil
}

func missingAttributes(ctx context.Context, c client.Client, namespace string) (map[string]enums.IndexedValueType, error) {
	listed, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, fmt.Errorf("list search attributes of namespace %s: %w", namespace, advise(err, ""))
	}
	missing := map[string]enums.IndexedValueType{}
	for _, name := range workflows.SearchAttributes {
		kind, has := listed.GetCustomAttributes()[name]
		switch {
		case !has:
			missing[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
		case kind != enums.INDEXED_VALUE_TYPE_KEYWORD:
			return nil, fmt.Errorf("search attribute %s is of type %s, not Keyword: remove it (`temporal operator search-attribute remove --name %s`), or use another namespace", name, kind, name)
		}
	}
	return missing, nil
}

func awaitAttributes(ctx context.Context, c client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, usableWithin)
	defer cancel()
	query := make([]string, len(workflows.SearchAttributes))
	for i, name := range workflows.SearchAttributes {
		query[i] = fmt.Sprintf("`%s` = 'x'", name)
	}
	tick := time.NewTicker(usablePoll)
	defer tick.Stop()
	for {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: namespace, Query: strings.Join(query, " AND "),
		})
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until the search attributes can be used: %w", err)
		}
	}
}
