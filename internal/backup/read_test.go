package backup_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
)

// TestReadHandlesEveryFirehoseFormat: as Firehose writes them, with each of its
// settings.
func TestReadHandlesEveryFirehoseFormat(t *testing.T) {
	t.Parallel()
	const count = 5000 // much more than is read ahead
	var want []string
	var lines, joined, members []byte
	for n := range count {
		record := ours(n)
		want = append(want, string(record))
		lines = append(append(lines, record...), '\n')
		joined = append(joined, record...)
		members = append(members, packed(record)...)
	}
	half := len(lines) / 2
	for name, body := range map[string][]byte{
		"lines":                        lines,
		"lines without the last break": lines[:len(lines)-1],
		"lines of Windows":             bytes.ReplaceAll(lines, []byte("\n"), []byte("\r\n")),
		"no delimiter":                 joined,
		"packed lines":                 packed(lines),
		"packed, no delimiter":         packed(joined),
		"members":                      members,
		"members cut anywhere":         append(packed(lines[:half]), packed(lines[half:])...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readObject(t, &shelf{bodies: map[string][]byte{"key": body}}, "key")
			if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
				t.Errorf("%d records, %v", len(got), err)
			}
		})
	}
}

// What is no record of ours stands alone, and hides none of its neighbours.
func TestForeignPiecesHideNoNeighbours(t *testing.T) {
	t.Parallel()
	a, b := string(ours(1)), string(ours(2))
	for text, want := range map[string][]string{
		a + "\ngarbage\n" + b:             {a, "garbage", b},
		a + "garbage" + b:                 {a, "garbage", b},
		`{"x":` + a + b:                   {`{"x":`, a, b},
		`{"x":1}{"y":"}"}` + "\n" + a:     {`{"x":1}{"y":"}"}`, a},
		`{"x":1}` + a + `{"y":2}` + b:     {`{"x":1}`, a, `{"y":2}`, b},
		"\n\n" + a + " \r\n\t" + b + "\n": {a, b},
		"garbage":                         {"garbage"},
		strings.Repeat("x", 3<<20) + a:    nil, // larger than any document: pieces, and then a
	} {
		got, err := readObject(t, &shelf{bodies: map[string][]byte{"key": []byte(text)}}, "key")
		if !errors.Is(err, io.EOF) || want != nil && !slices.Equal(got, want) || want == nil && got[len(got)-1] != a {
			t.Errorf("%.40q gives %d pieces, %.300q, %v", text, len(got), got, err)
		}
	}
}

func TestDamagedObjectsYieldTheirGoodPrefix(t *testing.T) {
	t.Parallel()
	var lines []byte
	for n := range 1000 {
		lines = append(append(lines, ours(n)...), '\n')
	}
	whole := packed(lines)
	flipped := slices.Clone(whole)
	flipped[len(flipped)*3/4] ^= 0xff
	for name, body := range map[string][]byte{
		"empty":                  {},
		"nothing but a header":   whole[:5],
		"truncated":              whole[:len(whole)/2],
		"without its checksum":   whole[:len(whole)-6],
		"a bit is wrong":         flipped,
		"garbage behind members": append(slices.Clone(whole), "garbage"...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readObject(t, &shelf{bodies: map[string][]byte{"key": body}}, "key")
			var damage *backup.DamageError
			if !errors.As(err, &damage) || damage.Key != "key" {
				t.Errorf("the error is %v", err)
			}
			if len(got) == 0 && len(body) > 1000 {
				t.Error("nothing was read of it")
			}
			for n, record := range got {
				if name != "a bit is wrong" && record != string(ours(n)) {
					t.Fatalf("record %d is %q", n, record)
				}
			}
		})
	}
}

// TestTruncatedObjectIsDamaged: of an object that counts its records also between two
// of them, where the checksum of what was written anew is right, and of Firehose's
// within one, which is no foreign record.
func TestTruncatedObjectIsDamaged(t *testing.T) {
	t.Parallel()
	m := newMemory()
	write(t, backup.Open(m, shard, ""), 0, 4, 4)
	var body []byte
	var says map[string]string
	for _, o := range m.objects {
		body, says = unpacked(t, o.body), o.meta
	}
	upTo := func(record, less int) []byte {
		at := 0
		for range record {
			at += bytes.IndexByte(body[at:], '\n') + 1
		}
		return body[:at-less]
	}
	three := slices.Concat(ours(0), ours(1), ours(2))
	within := bytes.LastIndex(three, []byte(`{"doc_id":"x"}`)) + len(`{"doc_id":"x"}`)
	for name, c := range map[string]struct {
		body []byte
		meta map[string]string
		good int
		ends bool // well
	}{
		"ours, whole":                     {packed(body), says, 4, true},
		"ours, packed and cut":            {packed(body)[:len(packed(body))/2], says, -1, false},
		"ours, between two":               {packed(upTo(3, 0)), says, 3, false},
		"ours, within a record":           {packed(upTo(3, 9)), says, 2, false},
		"ours, behind a record":           {packed(upTo(3, 1)), says, 3, false},
		"ours, unpacked, within a record": {upTo(3, 9), says, 2, false},
		"ours, with a line that is none":  {packed(slices.Concat(upTo(3, 0), []byte("garbage\n"))), says, 3, false},
		"ours, without metadata":          {packed(upTo(3, 9)), nil, 2, false},
		"Firehose's":                      {three, nil, 3, true},
		"Firehose's, within a record":     {three[:len(three)-5], nil, 2, false},
		"Firehose's, within a head":       {three[:len(ours(0))+5], nil, 1, false},
		"Firehose's, behind a member":     {three[:within], nil, -1, false},
		"Firehose's, packed":              {packed(three[:len(three)-5]), nil, 2, false},
	} {
		got, err := readObject(t, &shelf{bodies: map[string][]byte{"key": c.body}, meta: map[string]map[string]string{"key": c.meta}}, "key")
		var damage *backup.DamageError
		if errors.Is(err, io.EOF) != c.ends || errors.As(err, &damage) == c.ends || c.good >= 0 && len(got) != c.good {
			t.Errorf("%s: %d records, %v", name, len(got), err)
		}
	}
}

func unpacked(t *testing.T, body []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A connection that breaks says nothing about the object.
func TestBrokenConnectionIsNoDamage(t *testing.T) {
	t.Parallel()
	s := &shelf{bodies: map[string][]byte{"key": packed(bytes.Repeat(append(ours(1), '\n'), 100_000))}, broken: errors.New("reset by peer")}
	var damage *backup.DamageError
	if _, err := readObject(t, s, "key"); !errors.Is(err, s.broken) || errors.As(err, &damage) {
		t.Errorf("the error is %v", err)
	}
	if _, err := backup.OpenObject(t.Context(), s, "other"); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("the error of a missing object is %v", err)
	}
}

func TestLinesNameTheirShardAndSequence(t *testing.T) {
	t.Parallel()
	m := newMemory()
	write(t, backup.Open(m, shard, ""), 0, 100, 30)
	s := &shelf{bodies: map[string][]byte{}}
	for key, o := range m.objects {
		s.bodies[key] = o.body
	}
	read := 0
	for object, err := range backup.List(t.Context(), s, backup.Window{To: start.Add(time.Hour)}) {
		if err != nil {
			t.Fatal(err)
		}
		r, err := backup.OpenObject(t.Context(), s, object.Key)
		if err != nil {
			t.Fatal(err)
		}
		for {
			line, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			want := record(read)
			if err != nil || line.Shard != shard.ID || line.Sequence != want.Sequence || !line.Arrived.Equal(want.Arrived) || !bytes.Equal(line.Data, want.Data) {
				t.Fatalf("record %d is %+v, %v", read, line, err)
			}
			read++
		}
		r.Close()
	}
	if read != 100 {
		t.Errorf("%d records", read)
	}
}
