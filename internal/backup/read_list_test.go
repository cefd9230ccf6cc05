package backup_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// key is that of an object of ours.
func key(at time.Time, shard, first string) string {
	return backup.Shard{Stream: "telemetry", Created: start, ID: shard}.Key(backup.Record{Sequence: first, Arrived: at})
}

func listed(t *testing.T, store backup.Objects, w backup.Window) (keys []string) {
	t.Helper()
	for object, err := range backup.List(t.Context(), store, w) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, object.Key)
	}
	return keys
}

func newShelf(keys ...string) *shelf {
	s := &shelf{bodies: map[string][]byte{}}
	for _, key := range keys {
		s.bodies[key] = []byte(key)
	}
	return s
}

func TestListChoosesByTime(t *testing.T) {
	t.Parallel()
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	s := newShelf(
		key(at(-13), "shardId-000000000000", "100"), key(at(-1), "shardId-000000000000", "200"),
		key(at(0), "shardId-000000000000", "300"), key(at(0), "shardId-000000000001", "999"), key(at(0), "shardId-000000000000", "1000"),
		key(at(2), "shardId-000000000000", "2000"), key(at(15), "shardId-000000000000", "3000"),
		"2026/11/20/09/early", "2026/11/20/10/fh", "2026/11/20/12/fh", "2026/11/20/15/late",
		"dt=2026-11-20/hour=12/other.txt", "result/x",
	)
	for name, c := range map[string]struct {
		from, to time.Time
		want     []string
	}{
		"all": {time.Time{}, at(100), []string{
			key(at(-13), "shardId-000000000000", "100"), "2026/11/20/09/early", "2026/11/20/10/fh", key(at(-1), "shardId-000000000000", "200"), "2026/11/20/12/fh",
			key(at(0), "shardId-000000000000", "300"), key(at(0), "shardId-000000000000", "1000"), key(at(0), "shardId-000000000001", "999"),
			key(at(2), "shardId-000000000000", "2000"), "2026/11/20/15/late", key(at(15), "shardId-000000000000", "3000"),
		}},
		"an hour and a half": {noon.Add(-10 * time.Minute), noon.Add(80 * time.Minute), []string{
			// Firehose's of 10:00 may hold a record that arrived at 11:50.
			"2026/11/20/10/fh", key(at(-1), "shardId-000000000000", "200"), "2026/11/20/12/fh",
			key(at(0), "shardId-000000000000", "300"), key(at(0), "shardId-000000000000", "1000"), key(at(0), "shardId-000000000001", "999"),
		}},
		"nothing": {at(20), at(30), nil},
	} {
		got := listed(t, s, backup.Window{From: c.from, To: c.to})
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// counted is a shelf that counts how often it is listed.
type counted struct {
	*shelf
	lists int
}

func (c *counted) List(ctx context.Context, prefix string) iter.Seq2[archive.Object, error] {
	c.lists++
	return c.shelf.List(ctx, prefix)
}

// TestListBeginsWithBackup, however long before that a window begins:
// each day costs a call.
func TestListBeginsWithBackup(t *testing.T) {
	t.Parallel()
	store := &counted{shelf: newShelf(key(noon, "shardId-000000000000", "100"))}
	if got := listed(t, store, backup.Window{From: time.Time{}.Add(time.Minute), To: noon.Add(time.Hour)}); len(got) != 1 || store.lists > 6 {
		t.Errorf("%q, after %d calls", got, store.lists)
	}
}

func TestListChoosesByChain(t *testing.T) {
	t.Parallel()
	const a, b, c = "shardId-000000000000", "shardId-000000000001", "shardId-000000000002"
	early := noon.Add(-20 * time.Hour)
	s := newShelf(
		key(noon, a, "90"), key(noon, a, "100"), key(noon, a, "200"), key(noon.Add(time.Hour), a, "300"), key(noon.Add(2*time.Hour), a, "1000"),
		key(early, b, "5"), key(noon, b, "7"),
		key(early, c, "1"), key(noon, c, "8"),
		strings.Replace(key(noon, a, "150"), "telemetry-", "other-", 1),
	)
	w := backup.Window{
		From: noon, To: noon.Add(3 * time.Hour), Stream: "telemetry", Created: start, Reach: 24 * time.Hour,
		Shards: map[string][]backup.Span{
			a: {{After: "150", Until: "999"}, {After: "94", Until: "95"}}, // the second was open
			b: {{}},                                                       // never read, so from its beginning on
			c: {},                                                         // drained before
		},
	}
	want := []string{
		key(noon, a, "90"), key(noon, a, "100"), key(noon, a, "200"), key(noon.Add(time.Hour), a, "300"),
		key(early, b, "5"), key(noon, b, "7"), strings.Replace(key(noon, a, "150"), "telemetry-", "other-", 1),
	}
	got := listed(t, s, w)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}

	wants := w.Of(key(noon, a, "90"))
	for sequence, want := range map[string]bool{"94": false, "95": true, "96": false, "150": false, "151": true, "999": true, "1000": false} {
		if got := wants(backup.Line{Shard: a, Record: backup.Record{Sequence: sequence}}); got != want {
			t.Errorf("record %s: %v", sequence, got)
		}
	}
	// A later stream of the same name counts anew.
	other := w.Of(strings.Replace(key(noon, a, "150"), "telemetry-", "other-", 1))
	for at, want := range map[time.Time]bool{noon: true, noon.Add(4 * time.Hour): false} {
		if got := other(backup.Line{Shard: a, Record: backup.Record{Sequence: "5", Arrived: at}}); got != want {
			t.Errorf("a record of another stream at %s: %v", at, got)
		}
	}
	if !w.Of("2026/11/20/10/fh")(backup.Line{}) {
		t.Error("a record of Firehose's is not wanted")
	}
}

func TestReachedIsEndOfChain(t *testing.T) {
	t.Parallel()
	m := newMemory()
	write(t, backup.Open(m, shard, ""), 0, 95, 30)
	s := &shelf{bodies: map[string][]byte{}, meta: map[string]map[string]string{}}
	for key, o := range m.objects {
		s.bodies[key], s.meta[key] = o.body, o.meta
	}
	old, idle := key(noon.Add(-100*time.Hour), "shardId-000000000001", "500"), "shardId-000000000001"
	s.bodies[old], s.meta[old] = nil, map[string]string{
		"last": "600", "count": "1", "bytes": "1", "oldest": "2026-11-16T08:00:00.000Z", "newest": "2026-11-16T08:00:00.000Z",
	}
	reached := func(since time.Time, shards ...string) map[string]string {
		t.Helper()
		s.listed = nil
		got, err := backup.Reached(t.Context(), s, shard.Stream, start, shards, since)
		if err != nil {
			t.Error(err)
		}
		at := map[string]string{}
		for shard, last := range got {
			at[shard] = last.Last
		}
		return at
	}
	want := map[string]string{shard.ID: record(94).Sequence}
	if got := reached(start.Add(-time.Hour), shard.ID, idle); !maps.Equal(got, want) {
		t.Errorf("of two shards, one without objects, they are at %v", got)
	}
	if got := reached(time.Time{}, shard.ID); !maps.Equal(got, want) || slices.Contains(s.listed, "dt=2026-11-22/") {
		t.Errorf("they are at %v, found in %q", got, s.listed)
	}
	want[idle] = "600"
	if got := reached(time.Time{}, shard.ID, idle, "shardId-000000000002"); !maps.Equal(got, want) || slices.Contains(s.listed, "dt=2026-11-15/") {
		t.Errorf("since ever they are at %v, found in %q", got, s.listed)
	}
	slices.Sort(s.listed)
	if days := len(s.listed); len(slices.Compact(s.listed)) != days {
		t.Errorf("it has listed a day for each shard: %q", s.listed)
	}
}

// inventory writes a manifest for a file.
func inventory(s *shelf, format, schema, file string, body []byte, created time.Time) {
	sum := md5.Sum(body)
	s.bodies[file] = body
	s.bodies["manifest.json"] = fmt.Appendf(nil, `{"sourceBucket":"telemetry","destinationBucket":"arn:aws:s3:::inventories","version":"2016-11-30",
		"creationTimestamp":"%d","fileFormat":%q,"fileSchema":%q,"files":[{"key":%q,"size":%d,"MD5checksum":%q}]}`,
		created.UnixMilli(), format, schema, file, len(body), hex.EncodeToString(sum[:]))
}

// TestInventoryIsCompletedByListing: what it knows is not listed, and what is
// too young for it is.
func TestInventoryIsCompletedByListing(t *testing.T) {
	t.Parallel()
	const id = "shardId-000000000000"
	old, fresh := noon, noon.Add(72*time.Hour)
	created := noon.Add(60 * time.Hour) // so it is complete up to the 20th
	parquet, err := os.ReadFile("testdata/inventory.parquet")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	rows := csv.NewWriter(&text)
	for _, key := range []string{"backup/" + key(old, id, "1012"), "backup/2026/11/20/05/stream-1-2026-11-20-05-00-00-a b", "ledger/open/x.json"} {
		_ = rows.Write([]string{"telemetry", url.QueryEscape(key), "112", "2026-11-20T12:05:00.000Z"})
	}
	rows.Flush()
	for name, write := range map[string]func(s *shelf){
		"CSV": func(s *shelf) {
			inventory(s, "CSV", "Bucket, Key, Size, LastModifiedDate", "data/1.csv.gz", packed(text.Bytes()), created)
		},
		"Parquet": func(s *shelf) {
			inventory(s, "Parquet", "message s3.inventory {…}", "data/1.parquet", parquet, created)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where, bucket := &shelf{bodies: map[string][]byte{}}, newShelf(key(fresh, id, "5000"), "dt=2026-11-20/hour=12/not-known-to-it")
			write(where)
			w := backup.Window{From: noon.Add(-7 * time.Hour), To: noon.Add(100 * time.Hour)}
			i, err := backup.OpenInventory(t.Context(), where, "manifest.json", "telemetry", "backup/", w.Since(), bucket)
			if err != nil {
				t.Fatal(err)
			}
			got := listed(t, i, w)
			if !slices.Contains(got, key(old, id, "1012")) || !slices.Contains(got, key(fresh, id, "5000")) ||
				!slices.Contains(got, "2026/11/20/05/stream-1-2026-11-20-05-00-00-a b") ||
				slices.ContainsFunc(got, func(key string) bool { return strings.Contains(key, "9999") || strings.Contains(key, "not-known") }) {
				t.Errorf("it lists %q", got)
			}
			if slices.Contains(bucket.listed, "dt=2026-11-20/") || !slices.Contains(bucket.listed, "dt=2026-11-21/") {
				t.Errorf("these were listed: %q", bucket.listed)
			}
		})
	}
}

func TestUnreadableInventoriesAreErrors(t *testing.T) {
	t.Parallel()
	csvFile := packed([]byte(`"telemetry","k"` + "\n"))
	for want, write := range map[string]func(s *shelf){
		"no such object":                   func(*shelf) {},
		"not one of S3 Inventory's":        func(s *shelf) { s.bodies["manifest.json"] = []byte(`{"a":1}`) },
		"is about bucket telemetry, not x": func(s *shelf) { inventory(s, "CSV", "Bucket, Key", "f", csvFile, noon) },
		`its format is "ORC"`:              func(s *shelf) { inventory(s, "ORC", "", "f", csvFile, noon) },
		"checksum":                         func(s *shelf) { inventory(s, "CSV", "Bucket, Key", "f", csvFile, noon); s.bodies["f"] = csvFile[1:] },
		"without Key":                      func(s *shelf) { inventory(s, "CSV", "Bucket, Size", "f", csvFile, noon) },
		"wrong number of fields":           func(s *shelf) { inventory(s, "CSV", "Bucket, Key, Size", "f", csvFile, noon) },
		"f of the inventory":               func(s *shelf) { inventory(s, "Parquet", "", "f", csvFile, noon) },
	} {
		s, source := &shelf{bodies: map[string][]byte{}}, "telemetry"
		if strings.HasSuffix(want, "not x") {
			source = "x"
		}
		write(s)
		if _, err := backup.OpenInventory(t.Context(), s, "manifest.json", source, "backup/", noon, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, the error is %v", want, err)
		}
	}
}

// TestListChoosesAmongEarlierStreams: by sequence number, as of the present one, and as
// far back as something may have waited for.
func TestListChoosesAmongEarlierStreams(t *testing.T) {
	t.Parallel()
	earlier := start.Add(-100 * time.Hour)
	of := func(hours int, id, first string) string {
		return backup.Shard{Stream: "telemetry", Created: earlier, ID: id}.Key(backup.Record{Sequence: first, Arrived: noon.Add(time.Duration(hours) * time.Hour)})
	}
	const a, b, c = "shardId-000000000000", "shardId-000000000001", "shardId-000000000002"
	s := newShelf(of(-30, a, "100"), of(-20, a, "200"), of(-2, a, "300"), of(1, a, "400"), of(-2, b, "100"), of(1, b, "200"), of(-2, c, "100"), of(1, c, "200"),
		key(noon.Add(time.Hour), a, "100"), "2026/11/19/08/x", "2026/11/20/08/x")
	w := backup.Window{
		From: noon, To: noon.Add(3 * time.Hour), Reach: 26 * time.Hour, Stream: "telemetry", Created: start, Shards: map[string][]backup.Span{a: {}},
		Earlier: []backup.Generation{{Created: earlier, Shards: map[string][]backup.Span{a: {{After: "210"}, {After: "250", Until: "320"}}, b: {}}}},
	}
	want := []string{of(-20, a, "200"), of(-2, a, "300"), of(1, a, "400"), of(1, c, "200"), "2026/11/20/08/x"}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(listed(t, s, w))); !slices.Equal(got, want) {
		t.Errorf("listed are %q, want %q", got, want)
	}
	chains, err := backup.Chains(t.Context(), s, w)
	if err != nil || len(chains) != 2 || chains[0].ID != a || chains[1].ID != c || chains[1].Created.Unix() != earlier.Unix() {
		t.Errorf("its chains are %+v, %v", chains, err)
	}
}
