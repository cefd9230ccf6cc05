package audit

import (
	"cmp"
	"context"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

// mostChosen bounds the objects of a run that are in memory, of some 200 bytes each.
const mostChosen = 100_000

// chosen is an object to be checked.
type chosen struct {
	backup.Object
	shard backup.Shard
	// turn is random, and the same in each call of a run: it decides whether an object is
	// in the sample, and when it is its turn.
	turn uint64
}

// sample keeps those objects that a run checks.
type sample struct {
	run   string
	below uint64 // turns of the sample

	all  []chosen
	best map[backup.Shard]chosen // the first turn of each shard
	left int64                   // that did not fit in
}

func newSample(run string, r Request) *sample {
	below := uint64(math.MaxUint64)
	if !r.All && r.Share < 1 {
		below = uint64(r.Share * math.MaxUint64)
	}
	return &sample{run: run, below: below, best: map[backup.Shard]chosen{}}
}

// turn is that of an object in a run.
func turn(run, key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(run + "\x00" + key)) // never fails
	// FNV leaves keys that differ at their end close together; a multiplication and a shift
	// spread them (the finalizer of MurmurHash3).
	n := h.Sum64()
	n = (n ^ n>>33) * 0xff51afd7ed558ccd
	n = (n ^ n>>33) * 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}

// add offers an object.
func (s *sample) add(o backup.Object, shard backup.Shard) {
	c := chosen{Object: o, shard: shard, turn: turn(s.run, o.Key)}
	if first, has := s.best[shard]; !has || c.turn < first.turn {
		s.best[shard] = c
	}
	if c.turn > s.below {
		return
	}
	if s.all = append(s.all, c); len(s.all) >= 2*mostChosen {
		s.cut()
	}
}

// cut sorts the objects by their turns, and keeps as many as fit in.
func (s *sample) cut() {
	slices.SortFunc(s.all, func(a, b chosen) int { return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.Key, b.Key)) })
	if more := len(s.all) - mostChosen; more > 0 {
		s.left += int64(more)
		s.all = slices.Delete(s.all, mostChosen, len(s.all))
	}
}

// chosen are the objects, at least one of each shard, by their turns.
func (s *sample) chosen() []chosen {
	for _, first := range s.best {
		if first.turn > s.below {
			s.all = append(s.all, first)
		}
	}
	s.cut()
	return s.all
}

// choose lists the objects of a call: those that may have records which arrived in time
// before the checkpoints of their shards.
func (r *run) choose(ctx context.Context) ([]chosen, error) {
	chosen, unknown := newSample(r.in.Run, r.in.Request), int64(0)
	for object, err := range backup.List(ctx, r.auditor.Backups, backup.Window{From: r.in.Request.Since, To: r.until()}) {
		if err != nil {
			return nil, err
		}
		name, ours := backup.ParseKey(object.Key)
		if !ours || name.Shard.Stream != r.auditor.Stream.Name { // Firehose's name no sequence numbers
			continue
		}
		at, known := r.checkpoint(ctx, name.Shard)
		switch {
		case !known:
			unknown++
		case telemetry.ComparePositions(name.First, at.Sequence) <= 0:
			chosen.add(object, name.Shard)
		}
	}
	all := chosen.chosen()
	r.progress.change(func(p *Progress) {
		p.Left = chosen.left
		if p.Counts.Unknown = 0; r.in.After == 0 { // else the first call has counted them
			p.Counts.Unknown = unknown
		}
	})
	return all, nil
}

// until is how late a record may have arrived.
func (r *run) until() time.Time { return r.in.Start.Add(-time.Duration(r.in.Request.Grace)) }
