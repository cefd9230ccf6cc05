package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"millrace/activities/deadletters"
	"millrace/activities/snapshots"
	"millrace/internal/config"
	"millrace/internal/filesink"
	"millrace/internal/index"
	"millrace/internal/ops"
	"millrace/internal/sink"
	"millrace/workers"
	"millrace/workflows"
)

// Sinking says where documents go.
type Sinking struct {
	Sink      config.Sink `embed:""`
	Directory string      `name:"sink-directory" help:"Directory that --sink file writes to. It is made if it is not there." env:"MILLRACE_SINK_DIRECTORY"`
}

// Validate reports what cannot be meant.
func (s Sinking) Validate() error {
	switch {
	case s.Sink.Kind == config.SinkFile && s.Directory == "":
		return errors.New("--sink-directory: --sink file needs a directory to write to")
	case s.Sink.Kind != config.SinkFile && s.Directory != "":
		return errors.New("--sink-directory: it is for --sink file alone: give that, too, or leave it out")
	}
	return nil
}

// allQueues are the task queues that a worker can poll, as --queues names them, and
// clusterQueues those of them that need a cluster.
var allQueues, clusterQueues = inFlag(workflows.TaskQueues), inFlag(workflows.ClusterQueues)

func inFlag(queues []string) (names []string) {
	for _, queue := range queues {
		names = append(names, strings.TrimPrefix(queue, workflows.QueuePrefix))
	}
	return names
}

// polled are the task queues to poll: those asked for, or all that the sink can serve.
func (s *settings) polled() []string {
	if len(s.Queues) > 0 {
		return s.Queues
	}
	return slices.DeleteFunc(slices.Clone(allQueues), func(queue string) bool {
		return s.Sink.Kind == config.SinkFile && isClusterQueue(queue) || queue == canaryQueue && len(s.Canary.URLs) == 0
	})
}

func isClusterQueue(queue string) bool { return slices.Contains(clusterQueues, queue) }

// validateQueues refuses what the sink cannot do, and would not do for ever: its
// workflows wait for a worker that can.
func (s *settings) validateQueues() error {
	if s.Sink.Kind != config.SinkFile {
		return nil
	}
	if asked := slices.DeleteFunc(slices.Clone(s.Queues), func(queue string) bool { return !isClusterQueue(queue) }); len(asked) > 0 {
		return fmt.Errorf("--queues: %s: recovery, snapshots, retention and the canary need Elasticsearch, and --sink file is none: leave these queues out, or start this worker with --sink elasticsearch",
			strings.Join(asked, ", "))
	}
	return nil
}

// target is where documents go, and what it can do.
type target struct {
	bulk      sink.Bulker
	lookup    sink.Lookup
	documents deadletters.Documents
	// cluster is nil where the sink is none.
	cluster *index.Client

	required, optional map[string]ops.Check
	close              func() error
}

// open opens the sink.
func (s *settings) open(cfg aws.Config) (target, error) {
	if s.Sink.Kind == config.SinkFile {
		return s.openFiles()
	}
	server := s.Elasticsearch.Settings(cfg)
	server.Timeout = s.BulkTimeout
	c, err := index.Open(server)
	if err != nil {
		return target{}, err
	}
	return target{
		bulk: c, lookup: c, documents: c, cluster: c, close: func() error { return nil },
		required: map[string]ops.Check{workers.Elasticsearch: c.Ready},
		optional: map[string]ops.Check{workers.Shards: workers.Room(c.Room)},
	}, nil
}

func (s *settings) openFiles() (target, error) {
	files, err := filesink.Open(s.Directory, filesink.Settings{})
	if err != nil {
		return target{}, fmt.Errorf("--sink-directory: %w", err)
	}
	if err := files.Ready(context.Background()); err != nil {
		return target{}, errors.Join(fmt.Errorf("--sink-directory: %w", err), files.Close())
	}
	if len(s.Queues) == 0 {
		slog.Info("recovery, snapshots, retention and the canary need Elasticsearch: their task queues are not polled", "sink", s.Sink.Kind, "left_out", clusterQueues)
	}
	return target{
		bulk: files, lookup: files, documents: files, close: files.Close,
		required: map[string]ops.Check{workers.Files: files.Ready},
	}, nil
}

// bulker is what sends bulks. A cluster's notes for the next snapshot what it has
// written to.
func (t target) bulker(b *workers.Backends) sink.Bulker {
	if t.cluster == nil {
		return t.bulk
	}
	return &snapshots.WrittenIndices{Bulk: t.bulk, Cluster: t.cluster, Store: b.Bucket}
}

// reprocessor is what brings dead letters home.
func (t target) reprocessor(r *deadletters.Reprocessor) workers.Reprocessor {
	if t.cluster == nil {
		return workers.DirectOnly{Reprocessor: r}
	}
	return r
}
