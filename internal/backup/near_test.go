package backup_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
)

// listing is a listing of objects, by when they were written.
type listing []archive.Object

func (s listing) List(_ context.Context, prefix string) iter.Seq2[archive.Object, error] {
	return func(yield func(archive.Object, error) bool) {
		for _, o := range s {
			if strings.HasPrefix(o.Key, prefix) && !yield(o, nil) {
				return
			}
		}
	}
}

func (s listing) Read(context.Context, string) (io.ReadCloser, archive.Object, error) {
	return nil, archive.Object{}, errors.New("nothing is to be read")
}

// object is one of a shard that begins with a record and was written then.
func (s *listing) object(of backup.Shard, sequence string, arrived, written time.Time) (key string) {
	key = of.Key(backup.Record{Sequence: sequence, Arrived: arrived})
	*s = append(*s, archive.Object{Key: key, Modified: written})
	return key
}

func TestNearListsTheObjectsThatWereWrittenNext(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 13, 30, 0, 0, time.UTC)
	mine := backup.Shard{Stream: "telemetry", Created: time.Unix(1, 0).UTC(), ID: "shardId-000000000001"}
	other, longer := mine, mine
	other.ID, longer.Stream = "shardId-000000000002", "telemetry-1-shardId-000000000001"
	var s listing
	minute := func(n int) time.Time { return at.Add(time.Duration(n) * time.Minute) }
	var keys, others []string
	for n := -25; n < 45; n += 10 { // -25, -15, -5, 5, 15, 25, 35; each is written five minutes behind its first record
		keys = append(keys, s.object(mine, []string{"1", "2", "9", "10", "11", "100", "101"}[(n+25)/10], minute(n), minute(n+5)))
		others = append(others, s.object(other, []string{"1", "2", "3", "4", "5", "6", "7"}[(n+25)/10], minute(n), minute(n+5)))
		s.object(longer, "5", minute(n), minute(n+5))
	}
	for name, c := range map[string]struct {
		shards []backup.Shard
		at     time.Time
		most   int
		want   []string
	}{
		"of one shard":           {[]backup.Shard{mine}, minute(-1), 3, []string{keys[2], keys[3], keys[1]}}, // 9 was written at 0
		"a moment later":         {[]backup.Shard{mine}, minute(1), 3, []string{keys[3], keys[4], keys[2]}},
		"at most two":            {[]backup.Shard{mine}, minute(1), 2, []string{keys[3], keys[4]}},
		"of two":                 {[]backup.Shard{mine, other}, minute(1), 3, []string{keys[3], others[3], keys[4]}},
		"in the next hour, too":  {[]backup.Shard{mine}, minute(22), 3, []string{keys[5], keys[6], keys[4]}},
		"behind all":             {[]backup.Shard{mine}, minute(50), 3, []string{keys[6]}},
		"of a day without any":   {[]backup.Shard{mine}, at.AddDate(0, 0, 1), 3, nil},
		"of a shard without any": {[]backup.Shard{{Stream: "telemetry", Created: mine.Created, ID: "shardId-000000000009"}}, at, 3, nil},
	} {
		got, err := backup.Near(t.Context(), s, c.shards, c.at, c.most)
		var found []string
		for _, o := range got {
			found = append(found, o.Key)
		}
		if err != nil || !slices.Equal(found, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, found, err, c.want)
		}
	}
}
