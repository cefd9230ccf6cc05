package main

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/sync/errgroup"

	"millrace/bench/replay"
	"millrace/internal/load"
)

const densityStream = "bench-density"

// put is what some records took of a stream.
type put struct {
	replay.Puts
	documents int
}

func (p put) perMillion(n int) float64 { return float64(n) / float64(p.documents) * 1e6 }

// density measures what records take of a stream, by form, by the number of its shards, and by how many collectors share
// the load: direct, since that makes the smallest batches, and no collector waits for a container to fill.
func (b *bench) density(ctx context.Context) error {
	single, err := b.putBy(ctx, 1, streamShards, 1)
	if err != nil {
		return err
	}
	b.addDensity("single_", "", single)
	for _, shards := range []int{streamShards, 4 * streamShards, 16 * streamShards} {
		for _, collectors := range []int{1, 4} {
			packs, err := b.putBy(ctx, packed, shards, collectors)
			if err != nil {
				return err
			}
			suffix := fmt.Sprintf("_%d_shards_%d_collectors", shards, collectors)
			if shards == streamShards && collectors == 1 {
				suffix = ""
				b.figures.add("pack_of_single_stream_records", packs.perMillion(packs.Records)/single.perMillion(single.Records), "at most 0.1")
				b.figures.add("pack_of_single_stream_bytes", float64(packs.Bytes)*float64(single.documents)/float64(packs.documents)/float64(single.Bytes), "at most 0.25")
				b.figures.add("pack_of_single_put_units", packs.perMillion(packs.Units)/single.perMillion(single.Units), "at most 0.1")
			}
			b.addDensity("pack_", suffix, packs)
		}
	}
	return nil
}

func (b *bench) addDensity(prefix, suffix string, p put) {
	b.figures.add(prefix+"stream_records_per_million"+suffix, p.perMillion(p.Records), "records of the stream for a million; %.1f in one", float64(p.documents)/float64(p.Records))
	b.figures.add(prefix+"stream_bytes_per_record"+suffix, float64(p.Bytes)/float64(p.documents), "data and partition key")
	b.figures.add(prefix+"put_units_per_million"+suffix, p.perMillion(p.Units), "PUT payload units of 25 KB")
}

// putBy returns what collectors put into a stream that takes all: packs, if records of the stream are to have that many
// documents.
func (b *bench) putBy(ctx context.Context, documents, shards, collectors int) (p put, err error) {
	sink, url, err := b.startReplay(ctx, replayName, 0, "--documents", strconv.Itoa(documents), "--shards", strconv.Itoa(shards))
	if err != nil {
		return p, err
	}
	defer sink.Kill()
	servers, senders := make([]*server, collectors), make([]*load.Sender, collectors)
	for i := range servers {
		if servers[i], err = b.startDirect(ctx, fmt.Sprintf("collector %d", i), b.programs, url, "MILLRACE_STREAM="+densityStream); err != nil {
			return p, err
		}
		defer servers[i].process.Kill()
	}
	group, posting := errgroup.WithContext(ctx)
	for i, s := range servers {
		group.Go(func() (err error) {
			senders[i], err = post(posting, load.Settings{URL: s.url, Key: s.key, Connections: connections / collectors, PerPost: perPost}, b.For/floorShare)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return p, err
	}
	if err := ask(ctx, url+replay.PutsPath+"?stream="+densityStream, &p.Puts); err != nil {
		return p, err
	}
	for _, s := range senders {
		p.documents += int(s.Counts().Accepted)
	}
	say("density", "%3d shards, %d collectors: %6d documents in %6d records, %d bytes each, %d calls", shards, collectors, p.documents, p.Records, p.Bytes/int64(max(p.documents, 1)), p.Calls)
	return p, nil
}
