package ledger

import (
	"path"
	"strconv"
	"strings"
	"time"

	"millrace/internal/telemetry"
)

// RangeOf reads from the key of an entry which records of a shard it has: those
// from First to Last, of a stream that was made at that time. It is false for
// any other entry.
func RangeOf(key string, created time.Time) (r telemetry.Range, ok bool) {
	shard, numbers, marks := parts(key)
	if len(marks) > 1 || len(marks) == 1 && marks[0] != stamp(created) {
		return r, false
	}
	return between(shard, numbers, created)
}

// CopyOf is RangeOf for the key of a copy of what a batch still holds.
func CopyOf(key string, created time.Time) (r telemetry.Range, ok bool) {
	shard, numbers, marks := parts(key)
	numbers, isCopy := strings.CutPrefix(numbers, copyMark)
	if !isCopy || len(marks) == 0 || len(marks) > 2 || len(marks) == 2 && marks[0] != stamp(created) {
		return r, false
	}
	return between(shard, numbers, created)
}

// ManyOf is RangeOf for the key of an entry, also of parked records, that has
// some of the records of the range: Positions says which.
func ManyOf(key string, created time.Time) (r telemetry.Range, ok bool) {
	shard, numbers, marks := parts(key)
	if parked, isParked := strings.CutPrefix(numbers, parkMark); isParked {
		if len(marks) < 3 || marks[0] != stamp(created) {
			return r, false
		}
		return between(shard, parked, created)
	}
	numbers, isSparse := strings.CutPrefix(numbers, manyMark)
	if !isSparse || len(marks) == 0 || len(marks) > 2 || len(marks) == 2 && marks[0] != stamp(created) {
		return r, false
	}
	return between(shard, numbers, created)
}

// ParkedOf reads from the key of an entry of parked records which index they wait
// for.
func ParkedOf(key string) (index string, ok bool) {
	_, numbers, marks := parts(key)
	if !strings.HasPrefix(numbers, parkMark) || len(marks) < 3 {
		return "", false
	}
	return strings.Join(marks[2:], "."), true // behind the stream's creation and the hash
}

// LossOf is RangeOf for the key of a possible loss: a range that was trimmed before it
// was read. What the backup has of it is in no other entry.
func LossOf(key string, created time.Time) (r telemetry.Range, ok bool) {
	shard, numbers, marks := parts(key)
	numbers, isLoss := strings.CutPrefix(numbers, lossMark)
	if !isLoss || len(marks) > 1 || len(marks) == 1 && marks[0] != stamp(created) {
		return r, false
	}
	return between(shard, numbers, created)
}

// IsLoss reports whether a key is that of an entry of a possible loss.
func IsLoss(key string) bool {
	_, numbers, _ := parts(key)
	return strings.HasPrefix(numbers, lossMark)
}

// parts takes a key apart: ledger/open/<stream>/<shard>/<numbers>.<marks>.json.
func parts(key string) (shard, numbers string, marks []string) {
	place, err := placeOf(key)
	folder, file := path.Split(place)
	name, ok := strings.CutSuffix(file, suffix)
	if err != nil || !ok {
		return "", "", nil
	}
	marks = strings.Split(name, ".")
	return path.Base(folder), marks[0], marks[1:]
}

// stamp is how a key names the stream: by the second in which it was made.
func stamp(created time.Time) string { return strconv.FormatInt(created.Unix(), 10) }

func between(shard, numbers string, created time.Time) (r telemetry.Range, ok bool) {
	first, last, pair := strings.Cut(numbers, "-")
	if !pair || !telemetry.IsPosition(first) || !telemetry.IsPosition(last) {
		return r, false
	}
	return telemetry.Range{StreamCreated: created, Shard: shard, First: first, Last: last}, true
}
