package lookup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Store is where the objects are. The error of Get and GetRange is fs.ErrNotExist
// where there is none; Keys yields in order. See archive.Bucket.
type Store interface {
	Put(ctx context.Context, key string, body []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	GetRange(ctx context.Context, key string, from, length int64) ([]byte, error)
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Where segments stand. It is beside the ledger, whose readers take every object
// below ledger/ for an entry.
const (
	newPrefix     = "ledger-index/new/"
	segmentPrefix = "ledger-index/segments/"
	completeKey   = "ledger-index/complete"
)

const (
	// mostNew bounds the new segments that a look-up reads, and one merge takes. It
	// is ten seconds of a hundred entries a second.
	mostNew = 1000
	// atOnce bounds the requests that one call has in flight.
	atOnce = 32
	// lookAgain bounds how often a look-up lists the segments, which may be merged
	// meanwhile: every few seconds.
	lookAgain = 10
)

// Index is the index of a ledger. It is safe for concurrent use, also by several
// processes.
type Index struct{ store Store }

// New returns the index in a store, whose keys all begin with "ledger-index/".
func New(store Store) *Index { return &Index{store: store} }

// Hash stands for a name of several parts. It is a part of a SHA-256, so that no
// tenant finds names that share one with another tenant's.
func Hash(parts ...string) uint64 {
	hash := sha256.New()
	for _, part := range parts {
		// The length keeps ("ab","c") and ("a","bc") apart. Neither fails.
		_, _ = hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = hash.Write([]byte(part))
	}
	return binary.BigEndian.Uint64(hash.Sum(nil))
}

// Note enters what a place has, in one small object. A second note about a place
// does no harm.
func (x *Index) Note(ctx context.Context, at time.Time, place string, hashes []uint64) error {
	rows := make([]Row, len(hashes))
	for n, hash := range hashes {
		rows[n] = Row{hash, place}
	}
	body := encode(rows)
	sum := sha256.Sum256(body)
	key := fmt.Sprintf("%s%013d-%s", newPrefix, at.UnixMilli(), hex.EncodeToString(sum[:8]))
	if err := x.store.Put(ctx, key, body); err != nil {
		return fmt.Errorf("note a ledger entry in its index: %w", err)
	}
	return nil
}

// Answer is what an index knows of a hash.
type Answer struct {
	Places []string // in order
	More   bool     // there are others
	// Gaps say what of the ledger was not searched, as operators read it. Without
	// any, an entry that is not among the places does not exist.
	Gaps []string
}

// Find returns at most so many places that may have what a hash stands for. It
// reads two ranges of each segment, and another one or two of each that has it.
func (x *Index) Find(ctx context.Context, hash uint64, most int) (Answer, error) {
	l := lookup{Index: x, hash: hash, most: most, read: map[string]bool{}}
	for again := 1; ; again++ {
		changed, err := l.look(ctx)
		if err != nil {
			return Answer{}, fmt.Errorf("look into the ledger's index: %w", err)
		}
		if !changed {
			break
		}
		if again == lookAgain {
			return Answer{}, errors.New("look into the ledger's index: it changes all the time")
		}
	}
	slices.Sort(l.found)
	l.found = slices.Compact(l.found)
	answer := Answer{Places: l.found[:min(len(l.found), most)], More: len(l.found) > most}
	if l.since != "" {
		answer.Gaps = append(answer.Gaps, "entries written since "+l.since+": too many for one look-up, KeepDeadLetters has not merged them yet")
	}
	if len(l.damaged) > 0 {
		slices.Sort(l.damaged)
		answer.Gaps = append(answer.Gaps, fmt.Sprintf("%d damaged objects of the ledger's index, such as %s: rebuild it", len(l.damaged), l.damaged[0]))
	}
	complete, err := x.Complete(ctx)
	if err == nil && !complete {
		answer.Gaps = append(answer.Gaps, "entries from before there was an index of the ledger: rebuild it")
	}
	return answer, err
}

// lookup is one call of Find.
type lookup struct {
	*Index
	hash  uint64
	most  int
	since string // from then on entries are not searched; empty: all are

	mu             sync.Mutex
	read           map[string]bool
	found, damaged []string
}

// look lists the segments and reads those that it has not read yet. Changed: one that
// was listed is gone, since it was merged with others, and those are to be listed.
func (l *lookup) look(ctx context.Context) (changed bool, err error) {
	// New ones first: one that is merged meanwhile is in a segment of the second list.
	keys, all, err := l.list(ctx, newPrefix, mostNew)
	if err != nil {
		return false, err
	}
	segments, _, err := l.list(ctx, segmentPrefix, 0)
	if err != nil {
		return false, err
	}
	if l.since = ""; !all {
		l.since = noted(keys[len(keys)-1])
	}
	looking, within := errgroup.WithContext(ctx)
	looking.SetLimit(atOnce)
	for _, key := range slices.Concat(segments, keys) {
		l.mu.Lock()
		known := l.read[key]
		l.mu.Unlock()
		if known {
			continue
		}
		looking.Go(func() error {
			err := l.lookInto(within, key)
			if errors.Is(err, fs.ErrNotExist) {
				l.mu.Lock()
				defer l.mu.Unlock()
				changed = true
				return nil
			}
			return err
		})
	}
	err = looking.Wait()
	return changed, err
}

// lookInto reads one segment.
func (l *lookup) lookInto(ctx context.Context, key string) error {
	s, err := l.open(ctx, key)
	var places []string
	if err == nil {
		places, err = s.find(ctx, l.hash, l.most+1)
	}
	damaged := errors.Is(err, errDamaged)
	if err != nil && !damaged {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read[key] = true
	l.found = append(l.found, places...)
	if damaged {
		l.damaged = append(l.damaged, key)
	}
	return nil
}

// list lists keys, at most so many unless that is zero, and reports whether those are all.
func (x *Index) list(ctx context.Context, prefix string, most int) (keys []string, all bool, err error) {
	for key, err := range x.store.Keys(ctx, prefix) {
		if err != nil {
			return nil, false, fmt.Errorf("list the ledger's index: %w", err)
		}
		if most > 0 && len(keys) == most {
			return keys, false, nil
		}
		keys = append(keys, key)
	}
	return keys, true, nil
}

// noted is the time in the key of a new segment.
func noted(key string) string {
	text, _, _ := strings.Cut(strings.TrimPrefix(key, newPrefix), "-")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "an unknown time"
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

// open opens a segment: a new one whole, since it is small.
func (x *Index) open(ctx context.Context, key string) (*segment, error) {
	size, large := sizeOf(key)
	if !large {
		return x.openWhole(ctx, key)
	}
	return openSegment(ctx, size, func(ctx context.Context, from, length int64) ([]byte, error) {
		return x.store.GetRange(ctx, key, from, length)
	})
}

func (x *Index) openWhole(ctx context.Context, key string) (*segment, error) {
	body, err := x.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return openSegment(ctx, int64(len(body)), inMemory(body))
}

// sizeOf reads from the key of a merged segment how large it is.
func sizeOf(key string) (size int64, ok bool) {
	name, ok := strings.CutPrefix(key, segmentPrefix)
	if !ok {
		return 0, false
	}
	_, text, _ := strings.Cut(name, "-")
	size, err := strconv.ParseInt(text, 10, 64)
	return size, err == nil
}

// Complete reports whether the index was made with the ledger, or rebuilt from it.
func (x *Index) Complete(ctx context.Context) (bool, error) {
	_, err := x.store.Get(ctx, completeKey)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask whether the ledger's index is complete: %w", err)
	}
	return true, nil
}

// SetComplete enters that the index knows the whole ledger.
func (x *Index) SetComplete(ctx context.Context) error {
	if err := x.store.Put(ctx, completeKey, []byte("{}")); err != nil {
		return fmt.Errorf("enter that the ledger's index is complete: %w", err)
	}
	return nil
}
