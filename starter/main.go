// Command starter is the operator's command: it creates and checks what the pipeline
// needs, starts, stops, pauses and resumes its endless workflows, shows their progress,
// steers recoveries, and sends test telemetry.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/client"

	"millrace/activities/canary"
	"millrace/internal/config"
	"millrace/starter/console"
	"millrace/workflows"
)

type commands struct {
	config.Resources `group:"resources"`
	By               who           `help:"Who you are: the owner of a pause, and the identity in the history of each workflow that you command; default: user and host." env:"MILLRACE_OPERATOR" placeholder:"USER@HOST"`
	AnswerWithin     time.Duration `help:"How long to wait for a workflow's answer to a query." default:"10s" env:"MILLRACE_ANSWER_WITHIN"`

	Setup  setupCommand  `cmd:"" group:"first" help:"Create the stream, queues, bucket, index templates and search attributes that are missing."`
	Send   sendCommand   `cmd:"" group:"first" help:"Send test telemetry to a collector."`
	Doctor doctorCommand `cmd:"" group:"first" help:"Check everything that a pipeline needs, and say what to do about what is wrong."`

	Console consoleCommand `cmd:"" group:"processing" help:"Serve a page on this machine that shows the pipeline live."`

	Process processCommands `cmd:"" group:"processing" help:"Index the stream into Elasticsearch."`
	Shards  shardsCommand   `cmd:"" group:"processing" help:"Show the position of each shard."`
	Shard   shardCommands   `cmd:"" group:"processing" help:"Inspect, pause and resume one shard."`
	Steer   streamCommands  `cmd:"" group:"processing" name:"stream" help:"Pause and resume all shards of the stream."`

	Form formCommand `cmd:"" group:"processing" name:"format" help:"Show, or set, how documents are put into the stream: each alone, or many in a container."`

	Find findCommand `cmd:"" group:"processing" help:"Find a record: in the index, in the ledger, or on its way."`

	Batch batchCommands `cmd:"" group:"processing" help:"Ranges in doubt: ProcessBatch workflows, which bisect and retry them."`

	Parked parkedCommands `cmd:"" group:"processing" help:"Records that wait in the ledger because their index, and only that, refuses writes."`

	Backup backupCommands `cmd:"" group:"backup" help:"Back up the stream to S3."`

	DLQ dlqCommands `cmd:"" group:"fallback" name:"dlq" help:"Dead letters in the ledger: inspect them, and index them again."`

	Letters lettersCommands `cmd:"" group:"fallback" help:"KeepDeadLetters, which moves messages of the dead-letter queue into the ledger."`

	Audit auditCommands `cmd:"" group:"backup" help:"Prove that no record is lost: look for records of the backup in index, ledger and open batches."`

	Snapshot  snapshotCommands  `cmd:"" group:"safe" help:"Take and list snapshots of the telemetry indices."`
	Retention retentionCommands `cmd:"" group:"safe" help:"Delete old telemetry indices and documents."`

	Recover recoverCommands `cmd:"" group:"disaster" help:"Restore what a disaster took from Elasticsearch."`
	Replay  replayCommand   `cmd:"" group:"disaster" help:"Index a window of the backup again, or into other indices."`

	Drill drillCommands `cmd:"" group:"disaster" help:"Prove that a recovery would work: restore everything into copies, and compare them."`

	Canary canaryCommands `cmd:"" group:"processing" help:"The canary: a record that is posted every few seconds, to see whether it can be searched soon."`

	Redrive redriveCommands `cmd:"" group:"fallback" help:"Redrive, which moves records from the fallback queue into the stream."`
}

// AfterApply tells the commands who gives them.
func (c *commands) AfterApply(parsed *kong.Context) error { //nolint:unparam // kong wants it
	c.By = c.By.orMe()
	parsed.Bind(c.By)
	return nil
}

// Validate refuses to wait for nothing.
func (c *commands) Validate() error {
	if c.AnswerWithin <= 0 {
		return fmt.Errorf("--answer-within: %v is not positive", c.AnswerWithin)
	}
	return nil
}

const description = `Operates a Millrace pipeline.

AWS and Temporal are configured by their own environment: AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, …; TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS, TEMPORAL_API_KEY, …

Examples:

    starter setup --shards 8              create what the pipeline needs
    starter process start                 start processing
    starter backup start                  start the backup
    starter doctor                        check that all of it works
    starter send --key K --records 1000   post test records
    starter shards                        show the position of each shard
    starter console                       show all of it live, on a page
    starter shard pause 3 --for 10m       give Elasticsearch a rest
    starter find --tenant T ID            find a record
    starter dlq list                      list dead letters by error
    starter dlq reprocess --wait          index them again, once the cause is fixed`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(logger)
	var c commands
	parsed := kong.Parse(&c, append(options(),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&c, &c.Resources, logger),
		kong.BindTo(&screen{to: os.Stdout}, (*output)(nil)),
		kong.BindSingletonProvider(func(ctx context.Context) (client.Client, error) {
			connected, err := dial(ctx, c.By, logger)
			return asker{connected, c.AnswerWithin}, err
		}),
	)...)
	var status exit
	switch err := parsed.Run(); {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err != nil:
		fmt.Fprintln(&screen{to: os.Stderr}, "starter:", err)
		os.Exit(1)
	}
}

// exit is an exit status of a command that has said everything.
type exit int

// Error implements error.
func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// options are how the command line is read and explained.
func options() []kong.Option {
	return []kong.Option{
		kong.Name("starter"), kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoAppDescFormat: true, WrapUpperBound: 120}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "first", Title: "Setup and test:"},
			{Key: "processing", Title: "Processing:"},
			{Key: "backup", Title: "Backup:"},
			{Key: "fallback", Title: "Dead letters and the fallback queue:"},
			{Key: "safe", Title: "Snapshots and retention:"},
			{Key: "disaster", Title: "Disaster recovery:"},
			{Key: "resources", Title: "Names in AWS:"},
			{Key: "elasticsearch", Title: "Elasticsearch or OpenSearch:"},
		}),
		kong.Vars{"call_for": workflows.DefaultCallFor.String(), "backup_for": workflows.DefaultBackupFor.String(), "settle_for": workflows.DefaultSettleFor.String(),
			"lanes": strconv.Itoa(workflows.DefaultLanes), "lease": workflows.DefaultLease.String(),
			"backup_wait": workflows.DefaultBackupWait.String(), "sweep_for": workflows.DefaultSweepFor.String(),
			"console_every": console.DefaultEvery.String(), "console_within": console.DefaultWithin.String(),
			"canary_within": canary.DefaultWithin.String(),
			"drill_within":  model.Duration(workflows.DefaultDrillWithin).String()},
	}
}
