package process

import (
	"sync"
	"time"

	"millrace/internal/indexing"
	"millrace/internal/telemetry"
)

// mark is the low-water mark of a shard: the checkpoint up to which every
// record is durable somewhere else. Stretches of the shard are begun in its
// order and end in any; the mark passes a stretch when it and all before it
// have ended. It is safe for concurrent use.
type mark struct {
	mu     sync.Mutex
	open   []*stretch // in the order of the shard; the first has not ended
	at     telemetry.Checkpoint
	counts indexing.Counts
	moves  int // how often the mark has moved
}

// stretch is a part of the shard that is being worked on.
type stretch struct {
	end    telemetry.Checkpoint // without a sequence number: no records, only time has passed
	parts  int                  // that have not ended
	counts indexing.Counts      // of those that have
	began  time.Time
}

func newMark(at telemetry.Checkpoint, counts indexing.Counts) *mark {
	return &mark{at: at, counts: counts}
}

// begin opens the stretch that follows the one begun last, up to end.
func (m *mark) begin(end telemetry.Checkpoint) *stretch {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &stretch{end: end, parts: 1, began: time.Now()}
	m.open = append(m.open, s)
	return s
}

// divide adds parts to a stretch that has not ended: each of them ends on its own.
func (m *mark) divide(s *stretch, parts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.parts += parts
}

// end closes a stretch, or one of its parts, all of whose records are durable
// now, and moves the mark as far as it can go.
func (m *mark) end(s *stretch, counts indexing.Counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.parts--
	s.counts.Add(counts)
	passed := 0
	for _, s := range m.open {
		if s.parts > 0 {
			break
		}
		m.pass(s)
		passed++
	}
	if passed > 0 {
		rest := copy(m.open, m.open[passed:])
		clear(m.open[rest:])
		m.open = m.open[:rest]
		m.moves++
	}
}

func (m *mark) pass(s *stretch) {
	if s.end.Sequence != "" {
		m.at.Sequence, m.at.Arrived = s.end.Sequence, s.end.Arrived
	}
	if s.end.ReadUpTo.After(m.at.ReadUpTo) {
		m.at.ReadUpTo = s.end.ReadUpTo
	}
	m.at.Closed = s.end.Closed
	m.counts.Add(s.counts)
}

// markState is a mark at one moment.
type markState struct {
	checkpoint telemetry.Checkpoint
	counts     indexing.Counts
	moves      int
	stuckSince time.Time // when the stretch before which the mark stands was begun; zero if there is none
}

func (m *mark) state() markState {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := markState{checkpoint: m.at, counts: m.counts, moves: m.moves}
	if len(m.open) > 0 {
		state.stuckSince = m.open[0].began
	}
	return state
}
