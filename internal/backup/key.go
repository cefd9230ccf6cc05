package backup

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Prefix is where in the bucket the backup stands. Keys of this package are
// relative to it.
const Prefix = "backup/"

// Shard says of which shard a chain is.
type Shard struct {
	Stream  string
	Created time.Time // tells a stream from a later one of the same name
	ID      string
}

// partition is the folder of an hour.
const partition = "dt=2006-01-02/hour=15/"

// extension tells Athena and Spark that the lines are compressed.
const extension = ".json.gz"

// Partition is the folder of the objects whose records arrived in that hour.
func Partition(hour time.Time) string { return hour.UTC().Format(partition) }

// folder is what the keys of a shard's objects of an hour begin with.
func (s Shard) folder(hour time.Time) string {
	return fmt.Sprintf("%s%s-%d-%s-", Partition(hour), s.Stream, s.Created.Unix(), s.ID)
}

// EndsPrefix is where in the bucket stands of which shards the backup has all,
// apart from the objects that analysts read.
const EndsPrefix = "backup-ends/"

// end is where it stands of a shard, relative to EndsPrefix.
func (s Shard) end() string {
	return fmt.Sprintf("%s-%d-%s", s.Stream, s.Created.Unix(), s.ID)
}

// Key is where an object that begins with a record stands.
func (s Shard) Key(first Record) string { return s.folder(first.Arrived) + first.Sequence + extension }

// Name is what the key of an object says about it.
type Name struct {
	Shard Shard
	Hour  time.Time // in which all its records arrived
	First string    // its first sequence number
}

// name has a shard's stream, its creation and its id, and of an object its first
// sequence number.
var name = regexp.MustCompile(`^([a-zA-Z0-9_.-]+)-(\d+)-([a-zA-Z]+-\d+)(?:-(\d+))?$`)

// parseName reads a name; first is empty where it is that of a shard alone.
func parseName(text string) (shard Shard, first string, ok bool) {
	parts := name.FindStringSubmatch(text)
	if parts == nil {
		return shard, "", false
	}
	created, err := strconv.ParseInt(parts[2], 10, 64)
	return Shard{parts[1], time.Unix(created, 0).UTC(), parts[3]}, parts[4], err == nil
}

// ParseKey reads a key that Shard.Key made, and reports whether it is one.
func ParseKey(key string) (Name, bool) {
	if len(key) < len(partition) || !strings.HasSuffix(key, extension) {
		return Name{}, false
	}
	hour, err := time.Parse(partition, key[:len(partition)])
	shard, first, named := parseName(strings.TrimSuffix(key[len(partition):], extension))
	if err != nil || !named || first == "" {
		return Name{}, false
	}
	return Name{shard, hour, first}, true
}

// Meta is what an object's metadata say.
type Meta struct {
	// After is the sequence number behind which it goes on: that of the record
	// before its first one, without a gap. Empty: it begins with the oldest
	// record that the stream had then.
	After          string
	Last           string    // its last sequence number
	Count          int       // records
	Bytes          int64     // of its lines, before compression
	Oldest, Newest time.Time // arrivals; records are not quite in their order
}

// Keys of the metadata.
const (
	metaAfter  = "after"
	metaLast   = "last"
	metaCount  = "count"
	metaBytes  = "bytes"
	metaOldest = "oldest"
	metaNewest = "newest"
)

func (m Meta) encode() map[string]string {
	text := map[string]string{
		metaLast: m.Last, metaCount: strconv.Itoa(m.Count), metaBytes: strconv.FormatInt(m.Bytes, 10),
		metaOldest: m.Oldest.UTC().Format(arrivedLayout), metaNewest: m.Newest.UTC().Format(arrivedLayout),
	}
	if m.After != "" {
		text[metaAfter] = m.After
	}
	return text
}

// AfterGap is Meta.After of an object before which records may be missing.
const AfterGap = "gap"

var errNoLast = errors.New("it does not say its last sequence number")

// ParseMeta reads an object's metadata.
func ParseMeta(from map[string]string) (m Meta, err error) {
	if m.Last = from[metaLast]; m.Last == "" {
		return m, errNoLast
	}
	m.After = from[metaAfter]
	var errs [4]error
	m.Count, errs[0] = strconv.Atoi(from[metaCount])
	m.Bytes, errs[1] = strconv.ParseInt(from[metaBytes], 10, 64)
	m.Oldest, errs[2] = time.Parse(arrivedLayout, from[metaOldest])
	m.Newest, errs[3] = time.Parse(arrivedLayout, from[metaNewest])
	if err := errors.Join(errs[:]...); err != nil {
		return m, fmt.Errorf("read an object's metadata: %w", err)
	}
	return m, nil
}
