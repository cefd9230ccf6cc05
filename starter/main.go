// Command starter is what an operator has in hand: it makes what the pipeline
// needs, starts and stops its endless workflows, shows how far each shard is,
// pauses and resumes them, and sends test telemetry.
package main

import (
	"context"
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

	"millrace/internal/config"
	"millrace/workflows"
)

type commands struct {
	config.Resources `group:"resources"`
	AnswerWithin     time.Duration `help:"How long to wait for the answer of a workflow that is asked for its status." default:"10s" env:"MILLRACE_ANSWER_WITHIN"`

	Setup setupCommand `cmd:"" group:"first" help:"Make what is missing of stream, queues, bucket, index templates and search attributes."`
	Send  sendCommand  `cmd:"" group:"first" help:"Send test telemetry to a collector."`

	Process processCommands `cmd:"" group:"processing" help:"The processing of the stream into Elasticsearch."`
	Shards  shardsCommand   `cmd:"" group:"processing" help:"Show how far each shard is."`
	Shard   shardCommands   `cmd:"" group:"processing" help:"One shard."`
	Steer   streamCommands  `cmd:"" group:"processing" name:"stream" help:"All shards of the stream at once."`

	Batch batchCommands `cmd:"" group:"processing" help:"Ranges that could not be indexed with their neighbours: bisected, and tried again."`

	Parked parkedCommands `cmd:"" group:"processing" help:"Records that wait in the ledger since their index alone takes no writes."`

	Backup backupCommands `cmd:"" group:"backup" help:"The copy of the stream in the bucket."`

	DLQ dlqCommands `cmd:"" group:"fallback" name:"dlq" help:"Records that were given up, as the ledger keeps them: look at them, and bring them home."`

	Letters lettersCommands `cmd:"" group:"fallback" help:"The dead-letter queue, whose messages KeepDeadLetters takes into the ledger."`

	Snapshot  snapshotCommands  `cmd:"" group:"safe" help:"Snapshots of the telemetry indices."`
	Retention retentionCommands `cmd:"" group:"safe" help:"How long the telemetry indices are kept."`

	Recover recoverCommands `cmd:"" group:"disaster" help:"Bring back what a disaster has taken from Elasticsearch."`
	Replay  replayCommand   `cmd:"" group:"disaster" help:"Index a window of the backup once more, also into other indices."`

	Drill drillCommands `cmd:"" group:"disaster" help:"Prove that a recovery would work: restore everything into copies, and compare."`

	Redrive redriveCommands `cmd:"" group:"fallback" help:"The way back from the fallback queue into the stream."`
}

// Validate refuses to wait for nothing.
func (c *commands) Validate() error {
	if c.AnswerWithin <= 0 {
		return fmt.Errorf("--answer-within: %v is not positive", c.AnswerWithin)
	}
	return nil
}

const description = `Operates a Millrace pipeline.

AWS and Temporal are found by their own environment: AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, …; TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS, TEMPORAL_API_KEY, …

Examples:

    starter setup --shards 8              make everything, once
    starter process start                 and then let it run
    starter backup start                  and keep a copy of the stream in the bucket
    starter shards                        how far is each shard?
    starter shard pause 3 --for 10m       give Elasticsearch a rest
    starter send --key K --records 1000   is it all connected?
    starter dlq list                      what was given up, and why?
    starter dlq reprocess --wait          the cause is mended: bring it home`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(logger)
	var c commands
	parsed := kong.Parse(&c, append(options(),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&c.Resources, logger),
		kong.BindTo(os.Stdout, (*output)(nil)),
		kong.BindSingletonProvider(func(ctx context.Context) (client.Client, error) {
			connected, err := dial(ctx, logger)
			return asker{connected, c.AnswerWithin}, err
		}),
	)...)
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "starter:", err)
		os.Exit(1)
	}
}

// options are how the command line is read and explained.
func options() []kong.Option {
	return []kong.Option{
		kong.Name("starter"), kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoAppDescFormat: true, WrapUpperBound: 120}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "first", Title: "First and last:"},
			{Key: "processing", Title: "Processing, from the stream into Elasticsearch:"},
			{Key: "backup", Title: "Backup and recovery:"},
			{Key: "fallback", Title: "What the stream, or an index, did not take:"},
			{Key: "safe", Title: "Snapshots, and what is kept:"},
			{Key: "disaster", Title: "After a disaster, and back in time:"},
			{Key: "resources", Title: "Names in AWS:"},
			{Key: "elasticsearch", Title: "Elasticsearch or OpenSearch:"},
		}),
		kong.Vars{"call_for": workflows.DefaultCallFor.String(), "backup_for": workflows.DefaultBackupFor.String(), "operator": workflows.Operator, "settle_for": workflows.DefaultSettleFor.String(),
			"lanes": strconv.Itoa(workflows.DefaultLanes), "lease": workflows.DefaultLease.String(),
			"backup_wait": workflows.DefaultBackupWait.String(), "sweep_for": workflows.DefaultSweepFor.String(),
			"drill_within": model.Duration(workflows.DefaultDrillWithin).String()},
	}
}
