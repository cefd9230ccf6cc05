package audit

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/limiter"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// lookUpRecords is how many records are looked up at once: some 100 KB of names.
const lookUpRecords = 500

// suspect is a record that is to be found, without its data.
type suspect struct {
	Missing
	shard    backup.Shard
	received time.Time
	earlier  string // index in which an earlier post of it may stand; see telemetry.Placement
}

// checkObject looks for the records of an object; false if the call was stopped. A
// connection that breaks is opened again where it was.
func (r *run) checkObject(o chosen) bool {
	done, whole := 0, true
	read := func() error {
		object, err := backup.OpenObject(r.call.Going, r.auditor.Backups, o.Key)
		if errors.Is(err, archive.ErrNotFound) { // deleted by its lifecycle since it was listed
			return nil
		}
		if err != nil {
			return err
		}
		defer object.Close()
		whole, err = r.checkRecords(object, o, &done)
		return err
	}
	if !r.call.Retry(opening, read) || r.call.IsStopped() {
		return false
	}
	counts := Counts{Objects: 1, Bytes: o.Size}
	if !whole {
		counts.Damaged = 1
		slog.Warn("an object of the backup is damaged: the rest of it is not audited", "object", backup.Prefix+o.Key)
	}
	r.progress.count(counts)
	return true
}

// checkRecords looks for the records of an object behind the first ones, which are done.
func (r *run) checkRecords(object *backup.Reader, o chosen, done *int) (whole bool, err error) {
	at, _ := r.checkpoint(r.call.Going, o.shard)
	until := r.until()
	var chunk []suspect
	for read := 0; ; read++ {
		line, err := object.Next()
		var damage *backup.DamageError
		switch {
		case errors.Is(err, io.EOF), errors.As(err, &damage):
			if r.checkChunk(chunk) {
				*done = read
			}
			return damage == nil, nil
		case err != nil:
			return false, err
		}
		if read < *done || telemetry.ComparePositions(line.Sequence, at.Sequence) > 0 || line.Arrived.After(until) {
			continue
		}
		// One that no collector wrote has no id, and is a dead letter. What goes to no index
		// of telemetry, such as what a canary posts, is nothing to be kept.
		record, err := telemetry.Parse(line.Data)
		if err == nil && bytes.HasPrefix(record.Index, []byte(telemetry.IndexPrefix)) {
			chunk = append(chunk, suspect{
				Missing: Missing{
					ID: string(record.DocIDText), Index: string(record.Index), Shard: line.Shard, Sequence: line.Sequence,
					Object: backup.Prefix + o.Key, Arrived: line.Arrived,
				},
				shard: o.shard, received: record.ReceivedAt, earlier: string(record.Earlier),
			})
		}
		if len(chunk) == lookUpRecords {
			if !r.checkChunk(chunk) {
				return true, nil
			}
			*done, chunk = read+1, chunk[:0]
			if len(r.suspects) >= enoughMissing {
				return true, nil
			}
		}
	}
}

// checkChunk looks for records, and keeps those that are nowhere; false if the call was
// stopped.
func (r *run) checkChunk(chunk []suspect) bool {
	if len(chunk) == 0 {
		return true
	}
	if r.pace.WaitN(r.call.Going, len(chunk)) != nil {
		return false
	}
	there, ok := r.exist(chunk)
	if !ok {
		return false
	}
	var c Counts
	for i, one := range chunk {
		if there[i] {
			c.Indexed++
			continue
		}
		where, ok := r.place(one)
		if !ok {
			return false
		}
		if !c.enter(where) {
			r.suspects = append(r.suspects, one)
		}
	}
	c.Checked = c.Indexed + c.Held + c.Dead
	r.progress.count(c)
	return true
}

// Places of a record that is not indexed.
type where int

const (
	nowhere where = iota
	inRetention
	inBatch
	inLedger
)

// enter counts a record that is not indexed where it is; false if that is nowhere.
func (c *Counts) enter(at where) bool {
	switch at {
	case inRetention:
		c.Deleted++
	case inBatch:
		c.Held++
	case inLedger:
		c.Dead++
	default:
		return false
	}
	return true
}

// place looks for a record that is not indexed; false if the call was stopped.
func (r *run) place(one suspect) (at where, ok bool) {
	gone := false
	look := func() (err error) {
		record := telemetry.Record{Index: []byte(one.Index), ReceivedAt: one.received}
		gone, err = r.deleted.Has(r.call.Work, record, one.Arrived)
		return err
	}
	if !r.call.Retry(deleted, look) {
		return nowhere, false
	}
	if gone {
		return inRetention, true
	}
	if r.isHeld(one.shard, one.Sequence) {
		return inBatch, true
	}
	dead, ok := r.isDead(one.shard, one.Sequence)
	if dead {
		return inLedger, ok
	}
	return nowhere, ok
}

// exist reports which records are indexed; false if the call was stopped.
func (r *run) exist(of []suspect) (there []bool, ok bool) {
	there = make([]bool, len(of))
	var places []sink.Reference
	var at []int
	for i, one := range of {
		places, at = append(places, sink.Reference{Index: one.Index, ID: one.ID}), append(at, i)
		if one.earlier != "" {
			places, at = append(places, sink.Reference{Index: one.earlier, ID: one.ID}), append(at, i)
		}
	}
	look := func() error {
		release, err := r.auditor.Limiter.Acquire(r.call.Going, limiter.Recovery)
		if err != nil {
			return err
		}
		defer release(limiter.Feedback{})
		found, err := r.auditor.Documents.Exist(r.call.Work, places)
		if err != nil {
			return err
		}
		for n, is := range found {
			there[at[n]] = there[at[n]] || is
		}
		return nil
	}
	return there, r.call.Retry(lookingUp, look)
}
