package find

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

// Position is where the record is, or would be, in the stream.
type Position struct {
	Shard    string `json:"shard"`
	Sequence string `json:"sequence,omitempty"` // empty: not known
	From     string `json:"from"`               // how that is known
}

// How a position is known.
const (
	FromLedger  = "ledger"
	FromBatch   = "batch"
	FromBackup  = "backup"
	FromRequest = "request" // its IngestBatch has put the record into the stream
	FromHash    = "hash"    // of the partition key, which is the document's id
)

// Copy is the record in an object of the backup.
type Copy struct {
	Object   string    `json:"object"` // its key
	Shard    string    `json:"shard"`
	Sequence string    `json:"sequence"`
	Arrived  time.Time `json:"arrived"` // in the stream
}

// mostObjects bounds the objects of the backup that one question reads: each has up to
// some hundred thousand records.
const mostObjects = 3

// clue is what is known of a record by then.
type clue struct {
	doc      string // empty: not known
	received time.Time
}

// clueOf takes what is known from the question, the index, the ledger, and the batches
// of the request.
func clueOf(q Question, a Answer, asked request) clue {
	c := clue{doc: q.Doc, received: q.Around}
	if len(a.Index.Found) > 0 && q.Trace == "" {
		d := a.Index.Found[0]
		c.doc = d.Doc
		if c.received.IsZero() {
			c.received = d.ReceivedAt
		}
	}
	if len(a.Ledger.Found) > 0 {
		l := a.Ledger.Found[0]
		if c.doc == "" {
			c.doc = l.Doc
		}
		if c.received.IsZero() {
			c.received = l.ReceivedAt
		}
	}
	if c.doc == "" {
		c.doc = asked.doc
	}
	if c.received.IsZero() {
		c.received = asked.received
	}
	return c
}

// positions says at which place of the stream the record is, by what other places know.
// put: an IngestBatch has put it there.
func (f *Finder) positions(ctx context.Context, a Answer, doc string, put bool) Search[Position] {
	var found []Position
	add := func(shard, sequence, from string) {
		same := func(p Position) bool { return p.Shard == shard && p.Sequence == sequence }
		if shard != "" && sequence != "" && !slices.ContainsFunc(found, same) {
			found = append(found, Position{shard, sequence, from})
		}
	}
	for _, l := range a.Ledger.Found {
		add(l.Shard, l.Sequence, FromLedger)
	}
	for _, b := range a.Batches.Found {
		add(b.Shard, b.Sequence, FromBatch)
	}
	for _, c := range a.Backup.Found {
		add(c.Shard, c.Sequence, FromBackup)
	}
	if len(found) > 0 {
		return searched(found, false, nil)
	}
	if doc == "" {
		return notSearched[Position]("the shard follows from the document's id, which is not known: give --doc")
	}
	shards, err := f.shardsOf(ctx, doc)
	if err != nil {
		return failed[Position](err)
	}
	from := FromHash
	if put {
		from = FromRequest
	}
	for _, shard := range shards {
		found = append(found, Position{Shard: shard, From: from})
	}
	gaps := []string{"the sequence number is only in the backup, the ledger and batches"}
	return searched(found, false, gaps)
}

// shardsOf are the shards that may have a document's record: one, and after resharding
// its parents or children; all, where the document is not known. Those that the
// stream keeps no longer are not listed.
func (f *Finder) shardsOf(ctx context.Context, doc string) (ids []string, err error) {
	id, err := telemetry.ParseDocID([]byte(doc))
	if doc != "" && err != nil {
		return nil, fmt.Errorf("compute the shard of document %q: %w", doc, err)
	}
	from, err := f.Stream(ctx)
	if err != nil {
		return nil, err
	}
	shards, err := from.Shards(ctx)
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		if doc == "" || shard.Takes(id.PartitionKey()) {
			ids = append(ids, shard.ID)
		}
	}
	return ids, nil
}

// inBackup reads the objects of the backup that were written when the record arrived.
func (f *Finder) inBackup(ctx context.Context, q Question, c clue) Search[Copy] {
	switch {
	case q.ID == "" && q.Doc == "" && q.Trace == "":
		return notSearched[Copy](noName)
	case q.Trace != "":
		return notSearched[Copy]("the backup is not searched by trace: query it with Athena or Spark")
	case f.Backup == nil:
		return notSearched[Copy]("the backup is not configured")
	case c.received.IsZero():
		return notSearched[Copy]("it is not known when the record came: give --around")
	}
	ids, err := f.shardsOf(ctx, c.doc)
	if err != nil {
		return failed[Copy](err)
	}
	if c.doc != "" {
		q.Doc = c.doc // the one of several that is known
	}
	from, err := f.Stream(ctx)
	if err != nil {
		return failed[Copy](err)
	}
	var shards []backup.Shard
	for _, id := range ids {
		shards = append(shards, backup.Shard{Stream: f.Name, Created: time.Unix(from.Created().Unix(), 0).UTC(), ID: id})
	}
	objects, err := backup.Near(ctx, f.Backup, shards, c.received, mostObjects)
	if err != nil {
		return failed[Copy](err)
	}
	var gaps []string
	for _, object := range objects {
		found, err := f.inObject(ctx, object.Key, q.is)
		var damage *backup.DamageError
		if errors.As(err, &damage) {
			gaps = append(gaps, damage.Error())
			continue
		}
		if err != nil {
			return failed[Copy](err)
		}
		if len(found) > 0 {
			return searched(found[:min(len(found), q.Most)], len(found) > q.Most, gaps)
		}
	}
	gap := fmt.Sprintf("other objects than the %d that were written next after %s", len(objects), c.received.UTC().Format(time.RFC3339))
	if c.doc == "" {
		gap += ", of any shard: --doc says of which"
	}
	if len(objects) == 0 {
		gap = "the backup has no objects of its shard from the hour of " + c.received.UTC().Format(time.RFC3339) + ", or they are Firehose's: query those with Athena or Spark"
	}
	return searched[Copy](nil, false, append(gaps, gap))
}

// inObject returns the records of an object that are wanted.
func (f *Finder) inObject(ctx context.Context, key string, wanted func(data []byte) bool) (found []Copy, err error) {
	object, err := backup.OpenObject(ctx, f.Backup, key)
	if err != nil {
		return nil, err
	}
	defer object.Close()
	for {
		line, err := object.Next()
		switch {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return found, err
		}
		if wanted(line.Data) {
			found = append(found, Copy{Object: backup.Prefix + key, Shard: line.Shard, Sequence: line.Sequence, Arrived: line.Arrived})
		}
	}
}
