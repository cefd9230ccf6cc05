package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/stream"
)

// lastBulk is Elasticsearch at the end of a call: the call's time is over when
// it has taken a bulk, of which it refuses the first document.
type lastBulk struct {
	SweptDocuments
	over func()
	dead []Swept
}

func (l *lastBulk) Do(context.Context, *index.Bulk) index.Result {
	l.over()
	return index.Result{Items: []index.Item{{Class: index.Poison, Error: index.Error{Type: "document_parsing_exception"}}}}
}

func (l *lastBulk) BurySwept(_ context.Context, _ string, dead []Swept) error {
	l.dead = append(l.dead, dead...)
	return nil
}

// TestWhatWasIndexedIsNotMetAgain: a chunk that Elasticsearch has answered for
// counts, also when the call's time is over by then.
func TestWhatWasIndexedIsNotMetAgain(t *testing.T) {
	documents := &lastBulk{}
	s := &Sweeper{Documents: documents, Graves: documents, Limiter: index.NewLimiter(1, 0)}
	call := newSweep(t.Context(), t.Context(), s, SweepInput{Stage: SweepBackfill}, Plan{}, nil, SweepProgress{})
	defer call.abandon()
	documents.over = func() { call.stop(errStopped) }
	c := &sweepChunk{chunk: chunk{records: []stream.Record{{Data: record(1)}, {Data: record(2)}}}, lines: make([]backup.Line, 2)}
	if !call.settleChunk(c) || c.counts.Indexed != 1 || len(documents.dead) != 1 || len(c.dead) != 1 {
		t.Errorf("of two documents it counts %+v and %d dead, and buried %d", c.counts, len(c.dead), len(documents.dead))
	}
}

// archived is a backup of which S3 says about each object what it says about one
// that was moved to an archive.
type archived struct{ backup.Described }

func (archived) Read(context.Context, string) (io.ReadCloser, archive.Object, error) {
	return nil, archive.Object{}, fmt.Errorf("get it: %w: InvalidObjectState", archive.ErrWithheld)
}

// TestASweepGoesOnBehindWhatIsWithheld: it is damaged, and nobody waits for it.
func TestASweepGoesOnBehindWhatIsWithheld(t *testing.T) {
	t.Parallel()
	page := []Listed{{Key: backup.Prefix + "2026/11/23/13/x"}}
	call := newSweep(t.Context(), t.Context(), &Sweeper{Backups: archived{}}, SweepInput{Stage: SweepBackfill}, Plan{Prefix: backup.Prefix}, page, SweepProgress{})
	defer call.abandon()
	read := make(chan bool, 1)
	go func() { read <- call.readObject(0, 0) }()
	select {
	case c := <-call.queue:
		<-c.settled
		if !<-read || !c.last || c.gone || !errors.Is(c.damage, archive.ErrWithheld) {
			t.Errorf("the object ends with %+v", c)
		}
	case <-time.After(time.Minute):
		_, why := call.problem.state()
		t.Errorf("it is waited for: %s", why)
	}
}
