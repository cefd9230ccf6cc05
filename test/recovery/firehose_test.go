package recovery

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/backup"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// deliver writes what is in the stream as Firehose does, below the hour in which
// the oldest record of an object arrived: with and without a delimiter,
// compressed or not, in one piece or in several behind each other.
func (p *pipeline) deliver() (objects int) {
	p.t.Helper()
	records, forms := p.stored(), 8
	for part := range slices.Chunk(records, (len(records)+forms-1)/forms) {
		var body bytes.Buffer
		delimited, packed, pieces := objects&1 > 0, objects&2 > 0, 1+objects>>2
		for piece := range slices.Chunk(part, (len(part)+pieces-1)/pieces) {
			var to io.WriteCloser = plain{&body}
			if packed {
				to = gzip.NewWriter(&body)
			}
			for _, r := range piece {
				_, err := to.Write(r.Data)
				if delimited && err == nil {
					_, err = to.Write([]byte{'\n'})
				}
				p.must(err)
			}
			p.must(to.Close())
		}
		oldest := slices.MinFunc(part, func(a, b stream.Record) int { return a.Arrived.Compare(b.Arrived) }).Arrived.UTC()
		key := fmt.Sprintf("%s/millrace-1-%s-%d", oldest.Format("2006/01/02/15"), oldest.Format("2006-01-02-15-04-05"), objects)
		p.must(p.Backups.Put(p.t.Context(), backup.Prefix+key, body.Bytes()))
		objects++
	}
	return objects
}

type plain struct{ io.Writer }

// Close does nothing.
func (plain) Close() error { return nil }

// deliverBehind writes an object that begins behind the end of a recovery's
// window, once it waits for that. It has a record that others have, too.
func (p *pipeline) deliverBehind() {
	p.t.Helper()
	p.await("the recovery to wait for Firehose", func() bool { return p.progress().Stage == workflows.StageAwait })
	records := p.stored()
	good := slices.IndexFunc(records, func(r stream.Record) bool { return p.sent[telemetry.ParseFields(r.Data).ID] })
	began := time.Now().UTC().Add(2 * backup.ClockSkew)
	key := began.Format("2006/01/02/15/") + "millrace-1-" + began.Format("2006-01-02-15-04-05") + "-behind"
	p.must(p.Backups.Put(p.t.Context(), backup.Prefix+key, records[good].Data))
}

// TestRecoverReadsFirehoseObjects: from a bucket of their own, behind a snapshot,
// though they say neither how far they are nor where their records were. That all
// are there is known once one begins behind the window's end.
func TestRecoverReadsFirehoseObjects(t *testing.T) {
	t.Parallel()
	p := newPipelineIn(t, localtest.Elasticsearch(t), "-firehose")
	p.send("before", 400, 1)
	p.indexed()
	p.passed()
	p.snapshot()
	p.send("after", 1200, 2)
	p.indexed()
	p.passed()
	p.disaster()
	objects := p.deliver()
	began := time.Now()
	run := p.begin(workflows.RecoverInput{})
	p.deliverBehind()
	result := p.result(run)
	if c := result.Backfill; !result.Complete || !result.Verified || int(c.Objects) != objects || c.Damaged > 0 ||
		c.Indexed != 1200 || c.Duplicates != 400 || c.Dead != 3 {
		t.Errorf("the result is %+v", result)
	}
	more := result.Verify.Objects - int64(objects) // the last one, unless it is of the next hour
	if c := result.Verify; more < 0 || more > 1 || c.Duplicates != 1600+more || c.Indexed+c.Missing > 0 {
		t.Errorf("it has verified %+v", c)
	}
	if waited := result.Ended.Sub(began); waited < 3*time.Second {
		t.Errorf("it took %v, and so did not wait until Firehose has written everything", waited)
	}
	// Nothing says of a record that the ledger has it already.
	for id := range p.bad {
		if found := p.dead()[id]; found != 2 {
			t.Errorf("%s is in the ledger %d times", id, found)
		}
	}
	clear(p.bad)
	p.complete()
}
