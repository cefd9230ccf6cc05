package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// Origins says when documents were received. See index.Client.
type Origins interface {
	ReceivedAt(ctx context.Context, documents []sink.Reference) ([]time.Time, error)
}

const (
	// searchAhead is how long after a collector received a record it is looked for
	// in the backup: it arrives in the stream within seconds, and within minutes
	// where it took the way through SQS.
	searchAhead = 10 * time.Minute
	// mostSearched is how many objects of the backup one call of SweepObjects reads
	// for such records: a tenant who sends many contents under one id must not make
	// verify read the backup again and again. What is not looked for is a gap.
	mostSearched = 100
)

// searching is what operators read while the backup is searched.
const searching = "search the backup"

// content is an id, and what stands under it.
type content struct {
	id     telemetry.DocID
	digest telemetry.Digest
}

// unlike is a record whose document says something else.
type unlike struct {
	line  backup.Line
	place sink.Reference
	has   content // what the document says
}

// compare holds a record against its document. Records and documents of before
// there were digests are not to be compared.
func (c *sweepChunk) compare(at int, found sink.Found) {
	record, err := telemetry.Parse(c.Records[at].Data)
	switch {
	case err != nil:
	case record.Digest == 0 || found.Digest == 0:
		c.compared.Unchecked++
	default:
		c.compared.Compared++
		if record.Digest != found.Digest {
			c.unlike = append(c.unlike, unlike{
				line: c.lines[at], has: content{record.DocID, found.Digest},
				place: sink.Reference{Index: string(record.Index) + c.Suffix, ID: string(record.DocIDText)},
			})
		}
	}
}

// Comparison says how the records compare with their documents.
func (c SweepCounts) Comparison() string {
	return fmt.Sprintf("%d say what their documents say, %d say something else, %d cannot be compared: of before there were digests",
		c.Compared-c.Different, c.Different, c.Unchecked)
}

// explain looks for what documents say that is not what the records of the chunk
// do: another record of the same id may have been the first, and the first wins.
// What no record of the backup says is a gap. It is not overwritten: the document
// may be the first record, which the backup has lost, and nothing else has it.
func (s *sweep) explain(c *sweepChunk) bool {
	if len(c.unlike) == 0 {
		return true
	}
	places, wanted := make([]sink.Reference, len(c.unlike)), map[content]bool{}
	for i, u := range c.unlike {
		places[i], wanted[u.has] = u.place, true
	}
	var received []time.Time
	ask := func() (err error) {
		received, err = s.sweeper.Documents.ReceivedAt(s.call.Work, places)
		return err
	}
	if !s.call.Retry(lookingUp, ask) {
		return false
	}
	for i, u := range c.unlike {
		c.compared.Different++
		reason := "and the backup has no record of that id which does"
		if wanted[u.has] && !received[i].IsZero() {
			whole := true
			look := func() (err error) {
				whole, err = s.search(received[i], wanted)
				return err
			}
			if !s.call.Retry(searching, look) {
				return false
			}
			if !whole {
				reason = fmt.Sprintf("and no record of that id was looked for in the backup any more: %d objects were read for others", mostSearched)
			}
		}
		if wanted[u.has] {
			c.gaps = append(c.gaps, Gap{
				Object: s.page[c.object].Key, Shard: u.line.Shard, Sequence: u.line.Sequence, ID: u.place.ID, Index: u.place.Index, Records: 1,
				Reason: "its document says something else, " + reason,
			})
		}
	}
	c.unlike = nil
	return true
}

// search takes from what is wanted all that the backup has of the time behind which
// a collector received it. whole is false where it has read too much already.
func (s *sweep) search(received time.Time, wanted map[content]bool) (whole bool, err error) {
	window := backup.Window{From: received.Add(-backup.ClockSkew), To: received.Add(searchAhead)}
	for object, err := range backup.List(s.call.Going, underPrefix{s.sweeper.Backups, s.plan.Prefix}, window) {
		if err != nil {
			return false, fmt.Errorf("list the backup: %w", err)
		}
		key := s.plan.Prefix + object.Key
		if text, err := s.sweeper.Backups.Meta(s.call.Going, key); err == nil {
			if meta, err := backup.ParseMeta(text); err == nil && (meta.Newest.Before(window.From) || meta.Oldest.After(window.To)) {
				continue
			}
		}
		if s.searched.Add(1) > mostSearched {
			return false, nil
		}
		if err := s.searchObject(key, wanted); err != nil {
			return false, err
		}
		if len(wanted) == 0 {
			break
		}
	}
	return true, nil
}

func (s *sweep) searchObject(key string, wanted map[content]bool) error {
	object, err := backup.OpenObject(s.call.Going, s.sweeper.Backups, key)
	if errors.Is(err, archive.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer object.Close()
	for {
		line, err := object.Next()
		var damage *backup.DamageError
		switch {
		case errors.Is(err, io.EOF), errors.As(err, &damage):
			return nil
		case err != nil:
			return err
		}
		if record, err := telemetry.Parse(line.Data); err == nil {
			delete(wanted, content{record.DocID, record.Digest})
		}
	}
}

// underPrefix are the objects below a prefix, by the rest of their keys.
type underPrefix struct {
	backup.Objects
	prefix string
}

// List implements backup.Objects.
func (u underPrefix) List(ctx context.Context, prefix string) iter.Seq2[archive.Object, error] {
	return func(yield func(archive.Object, error) bool) {
		for object, err := range u.Objects.List(ctx, u.prefix+prefix) {
			object.Key = strings.TrimPrefix(object.Key, u.prefix)
			if !yield(object, err) {
				return
			}
		}
	}
}

// Read implements backup.Objects.
func (u underPrefix) Read(ctx context.Context, key string) (io.ReadCloser, archive.Object, error) {
	return u.Objects.Read(ctx, u.prefix+key)
}
