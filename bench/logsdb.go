package main

import (
	"context"
	"net/http"
	"strconv"

	"millrace/deploy/local"
)

// logsDB compares Elasticsearch's index mode for logs with that of our templates: what a document takes on disk, and what it
// costs Elasticsearch in CPU.
func (b *bench) logsDB(ctx context.Context) error {
	source, url, err := b.startReplay(ctx, replayName, b.Records, "--documents", strconv.Itoa(packed))
	if err != nil {
		return err
	}
	defer source.Kill()
	e := b.elastic()
	standard, logs := &contender{name: "standard", start: b.startProcessor(url)}, &contender{name: "logsdb", start: b.startProcessor(url)}
	sizes := map[*contender]spread{}
	err = b.alternate(ctx, "logsdb", b.Runs, []*contender{standard, logs}, func(ctx context.Context, c *contender, run string) (drained, error) {
		of := e
		if c == logs {
			of.mode = "logsdb"
		}
		result, err := b.into(of, source)(ctx, c, run)
		if err != nil {
			return result, err
		}
		bytes, err := of.size(ctx)
		sizes[c] = append(sizes[c], bytes/float64(b.Records))
		return result, err
	})
	if err != nil {
		return err
	}
	ours, theirs := collect(standard.runs, otherOf(local.Elasticsearch)), collect(logs.runs, otherOf(local.Elasticsearch))
	b.figures.add("index_bytes_per_record", sizes[standard].median(), "on disk, merged, without replicas")
	b.figures.add("logsdb_bytes_per_record", sizes[logs].median(), "likewise, with index.mode logsdb")
	b.figures.add("logsdb_cpu_ratio", spread(pair(theirs, ours)).median(), "CPU of Elasticsearch with logsdb over that without: %s and %s seconds per million records", short(theirs.median()), short(ours.median()))
	b.figures.add("logsdb_rate_ratio", spread(pair(collect(logs.runs, rateOf), collect(standard.runs, rateOf))).median(), "records a second with logsdb over those without")
	return e.call(ctx, http.MethodDelete, "/"+e.index, "", nil)
}
