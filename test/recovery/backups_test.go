package recovery

import (
	"maps"
	"slices"
	"time"

	"millrace/internal/backup"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// backUp writes what is in the stream into the backup.
func (p *pipeline) backUp() {
	p.t.Helper()
	shards, err := p.Stream.Shards(p.t.Context())
	p.must(err)
	store := p.Backups.Under(backup.Prefix)
	for _, shard := range shards {
		chain := p.chains[shard.ID]
		if chain == nil {
			chain = backup.Open(store, backup.Shard{Stream: p.Stream.Name(), Created: p.Stream.Created(), ID: shard.ID}, "")
			p.chains[shard.ID] = chain
		}
		reader := p.read.Reader(shard.ID, telemetry.Checkpoint{Sequence: chain.Last()})
		for empty := 0; empty < 3; {
			page, err := reader.Next(p.t.Context())
			p.must(err)
			if len(page.Records) == 0 {
				empty++
			}
			for _, r := range page.Records {
				record := backup.Record{Sequence: r.Sequence, Arrived: r.Arrived, Data: r.Data}
				if !chain.Fits(record.Arrived) || chain.Held().Count >= 300 {
					_, err := chain.Flush(p.t.Context())
					p.must(err)
				}
				p.must(chain.Add(record))
			}
		}
		_, err := chain.Flush(p.t.Context())
		p.must(err)
		reader.Close()
	}
}

// snapshot takes one, with its record.
func (p *pipeline) snapshot() {
	p.t.Helper()
	ctx := p.t.Context()
	record := snapshot.Record{Name: "snap", Repository: p.repo, Started: time.Now().UTC(), State: snapshot.Success, Indices: map[string]snapshot.Index{}}
	shards, err := p.Stream.Shards(ctx)
	p.must(err)
	for _, shard := range shards {
		at, _, err := p.launcher.Reached(ctx, p.StreamID(), shard.ID)
		p.must(err)
		record.Shards = append(record.Shards, snapshot.Shard{
			Stream: p.Stream.Name(), StreamARN: p.Stream.ARN(), Created: p.Stream.Created(), Shard: shard.ID, Checkpoint: at,
		})
	}
	p.must(p.documents.Refresh(ctx, p.indices+"*"))
	for name, state := range p.states() {
		record.Indices[name] = snapshot.Index{Documents: state.Documents, Created: state.Created}
	}
	p.must(p.documents.StartSnapshot(ctx, p.repo, "snap", slices.Collect(maps.Keys(record.Indices)), nil))
	p.await("the snapshot", func() bool {
		taken, err := p.documents.GetSnapshot(ctx, p.repo, "snap")
		p.must(err)
		return taken.State == snapshot.Success
	})
	p.must(snapshot.Open(p.Bucket, p.repo).Put(ctx, record))
}

// disaster deletes all indices.
func (p *pipeline) disaster() {
	p.t.Helper()
	for name := range p.states() {
		p.must(p.documents.DeleteIndex(p.t.Context(), name))
	}
}
