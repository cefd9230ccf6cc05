package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"millrace/deploy/pipeline"
	"millrace/internal/load"
)

// floorShare of the time of an ingest figure is how long a run lasts: there are many.
const floorShare = 4

// server is a contender that takes posts.
type server struct {
	name     string
	process  *pipeline.Process
	url, key string
	cpu      spread // CPU seconds per million records
}

// compareIngest measures what the collector costs in CPU, against the least that a
// collector can be, and the collector of an earlier commit, if there is one: by turns,
// with a stream that takes all, whose address is given.
func (b *bench) compareIngest(ctx context.Context, stream string) error {
	const key = "bench"
	floor, url, err := b.serve(ctx, "floor", b.floor, "/", "--stream", stream, "--key", key, "--shards", strconv.Itoa(streamShards))
	if err != nil {
		return err
	}
	defer floor.Kill()
	servers := []*server{{name: "floor", process: floor, url: url, key: key}}
	collectors := []string{b.programs.Collector}
	if b.Before != "" {
		collectors = append(collectors, filepath.Join(b.Before, "collector"))
	}
	for i, program := range collectors {
		programs := b.programs
		programs.Collector = program
		s, err := b.startDirect(ctx, [...]string{"collector", "collector before"}[i], programs, stream)
		if err != nil {
			return err
		}
		defer s.process.Kill()
		servers = append(servers, s)
	}
	for _, posts := range []int{perPost, 10 * perPost} {
		if err := b.compareServers(ctx, servers, posts); err != nil {
			return err
		}
		suffix, of := "", fmt.Sprintf("direct, posts of %d, %d connections, packs, a stream that takes all", posts, connections)
		if posts != perPost {
			suffix = fmt.Sprintf("_posts_of_%d", posts)
		}
		ours := servers[1].cpu
		b.figures.add("ingest_cpu_ratio"+suffix, spread(pair(ours, servers[0].cpu)).median(),
			"CPU of the collector over that of the floor; %s; %s CPU seconds per million records, the floor %s", of, short(ours.median()), short(servers[0].cpu.median()))
		if len(servers) > 2 {
			b.figures.add("ingest_cpu_of_before"+suffix, spread(pair(ours, servers[2].cpu)).median(),
				"CPU of the collector over that in %s; %s; that takes %s", b.Before, of, short(servers[2].cpu.median()))
		}
	}
	return nil
}

// startDirect starts a collector that puts its batches into a stream itself.
func (b *bench) startDirect(ctx context.Context, name string, programs pipeline.Programs, stream string, more ...string) (*server, error) {
	p := b.with(programs).pipeline()
	key, err := p.CreateKey(ctx, "bench")
	if err != nil {
		return nil, err
	}
	collector, err := p.StartCollector(ctx, append(more, "INGEST=direct", "AWS_ENDPOINT_URL_KINESIS="+stream)...)
	if err != nil {
		return nil, err
	}
	return &server{name: name, process: collector.Process, url: collector.URL, key: key}, nil
}

// compareServers posts to each by turns.
func (b *bench) compareServers(ctx context.Context, servers []*server, posts int) error {
	for _, s := range servers {
		s.cpu = nil
	}
	for run := range b.Runs + 1 {
		for i := range servers {
			s := servers[(i+run)%len(servers)]
			before, err := pipeline.CPUTime(s.process.Pid())
			if err != nil {
				return err
			}
			sender, err := post(ctx, load.Settings{URL: s.url, Key: s.key, Connections: connections, PerPost: posts}, b.For/floorShare)
			if err != nil {
				return fmt.Errorf("run %d of the %s: %w", run, s.name, err)
			}
			after, err := pipeline.CPUTime(s.process.Pid())
			if err != nil {
				return err
			}
			counts := sender.Counts()
			cost := perMillion(after-before, int(counts.Accepted))
			say("ingest", "%-16s posts of %3d %7.0f records/s %6.2f CPU s per million%s", s.name, posts,
				float64(counts.Accepted)/(b.For/floorShare).Seconds(), cost, discarded(run))
			if run > 0 {
				s.cpu = append(s.cpu, cost)
			}
		}
	}
	return nil
}
