package lookup

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// made are so many rows, four to a place, and of one hash so many more.
func made(count, same int) []Row {
	rows := make([]Row, 0, count+same)
	for n := range count {
		rows = append(rows, Row{Hash("id", fmt.Sprint(n)), fmt.Sprintf("telemetry/shardId-000000000001/%056d-%056d.json", n/4, n/4)})
	}
	for n := range same {
		rows = append(rows, Row{Hash("id", "same"), fmt.Sprintf("telemetry/ingest/%09d", n)})
	}
	return rows
}

// counted is a body that counts what is read of it.
type counted struct {
	body  []byte
	reads int
	bytes int64
}

func (c *counted) read(ctx context.Context, from, length int64) ([]byte, error) {
	c.reads++
	c.bytes += length
	return inMemory(c.body)(ctx, from, length)
}

func TestSegmentFindsEachRow(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ rows, same int }{{1, 0}, {5, 3}, {3 * blockRows, 0}, {3*blockRows + 1, 0}, {100_000, 3 * blockRows}} {
		rows := made(size.rows, size.same)
		body := encode(slices.Clone(rows))
		whole, err := openSegment(t.Context(), int64(len(body)), inMemory(body))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < size.rows; n += 1 + size.rows/500 {
			c := &counted{body: body}
			s, err := openSegment(t.Context(), int64(len(body)), c.read)
			if err != nil {
				t.Fatal(err)
			}
			places, err := s.find(t.Context(), rows[n].Hash, 10)
			if err != nil || !slices.Equal(places, []string{rows[n].Place}) {
				t.Fatalf("of %d rows, number %d is at %v, %v; want %s", size.rows, n, places, err, rows[n].Place)
			}
			// Its index, two blocks of rows where it begins one, and a block of places.
			if c.reads > 4 || c.bytes > tailBytes+2*blockRows*rowBytes+mostPlaceBytes {
				t.Errorf("of %d rows, it took %d reads of %d bytes", size.rows, c.reads, c.bytes)
			}
		}
		if places, err := whole.find(t.Context(), Hash("id", "absent"), 10); err != nil || len(places) > 0 {
			t.Errorf("of %d rows, one that is absent is at %v, %v", size.rows, places, err)
		}
		for _, most := range []int{1, 7, 5 * blockRows} {
			want := min(most, size.same)
			if places, err := whole.find(t.Context(), Hash("id", "same"), most); err != nil || len(places) != want {
				t.Errorf("of %d rows of one hash, %d are found, %v; want %d", size.same, len(places), err, want)
			}
		}
		if all, err := whole.all(t.Context()); err != nil || len(all) != len(rows) {
			t.Errorf("of %d rows it has %d, %v", len(rows), len(all), err)
		}
	}
}

// TestNoMistakeInASegmentFindsAnotherPlace: a damaged byte is noticed, or is in a part
// that the look-up did not need.
func TestNoMistakeInASegmentFindsAnotherPlace(t *testing.T) {
	t.Parallel()
	rows := made(2*blockRows, 0)
	good := encode(rows) // in their order
	random := rand.New(rand.NewPCG(1, 2))
	noticed := 0
	for range 2000 {
		body, n := slices.Clone(good), random.IntN(len(rows))
		row := rows[n]
		switch at := random.IntN(len(body)); random.IntN(4) {
		case 0:
			body = body[:at]
		case 1: // the very row
			body[n*rowBytes+random.IntN(rowBytes)] ^= 1 << random.IntN(8)
		case 2: // the index, or the footer
			body[len(body)-1-random.IntN(footerBytes+2*12)] ^= 1 << random.IntN(8)
		default:
			body[at] ^= 1 << random.IntN(8)
		}
		s, err := openSegment(t.Context(), int64(len(body)), inMemory(body))
		var places []string
		if err == nil {
			places, err = s.find(t.Context(), row.Hash, 10)
		}
		switch {
		case err != nil && !errors.Is(err, errDamaged):
			t.Fatalf("the damage is taken for something else: %v", err)
		case err != nil:
			noticed++
		case !slices.Equal(places, []string{row.Place}):
			t.Fatalf("found %v, want %s", places, row.Place)
		}
	}
	if noticed < 500 {
		t.Errorf("the damage was noticed %d times", noticed)
	}
}

var record = flag.Bool("record", false, "write testdata/segment anew")

// TestSegmentFormatIsStable reads a segment that an earlier version has written.
func TestSegmentFormatIsStable(t *testing.T) {
	t.Parallel()
	rows := made(600, 20)
	if *record {
		if err := os.WriteFile("testdata/segment", encode(slices.Clone(rows)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile("testdata/segment")
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSegment(t.Context(), int64(len(body)), inMemory(body))
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.all(t.Context())
	if err != nil || len(all) != len(rows) {
		t.Fatalf("%d rows, %v", len(all), err)
	}
	for _, row := range rows {
		if !slices.Contains(all, row) {
			t.Errorf("%v is missing", row)
		}
	}
}

func FuzzSegment(f *testing.F) {
	f.Add(encode(made(3, 1)))
	f.Add(encode(made(300, 0)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := openSegment(t.Context(), int64(len(body)), inMemory(body))
		if err != nil {
			return
		}
		rows, err := s.all(t.Context())
		if err != nil {
			return
		}
		for _, row := range rows[:min(len(rows), 10)] {
			_, _ = s.find(t.Context(), row.Hash, 10)
		}
	})
}
