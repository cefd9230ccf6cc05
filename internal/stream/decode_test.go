package stream

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func decodePage(t *testing.T, text []byte) Page {
	t.Helper()
	a, err := new(workspace).decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return Page{Records: a.records, memory: a.memory}
}

func TestReleasedMemoryIsNotInUse(t *testing.T) {
	t.Parallel()
	text, other := pageText(100), bytes.ReplaceAll(pageText(100), []byte("eHh4"), []byte("eXl5"))
	kept, released := decodePage(t, text), decodePage(t, other)
	sequences := []string{released.Records[0].Sequence, released.Records[99].Sequence}
	released.Release()
	for range 100 {
		decodePage(t, other).Release()
	}
	want := decodePage(t, text)
	for i, record := range kept.Records {
		if record.Sequence != want.Records[i].Sequence || !bytes.Equal(record.Data, want.Records[i].Data) {
			t.Fatalf("record %d of the page in use has become %+v", i, record)
		}
	}
	if !strings.HasSuffix(sequences[0], "00") || !strings.HasSuffix(sequences[1], "99") {
		t.Errorf("the sequence numbers of the released page have become %q", sequences)
	}
}

func TestTimesAreExact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"1763897000.123":   time.UnixMilli(1763897000123),
		"1.763897000123E9": time.UnixMilli(1763897000123),
		"1763897000":       time.Unix(1763897000, 0),
		"9223372036.8":     time.UnixMilli(9223372036800), // nearly all that fits in nanoseconds
		"9223372037":       time.Unix(9223372037, 0),      // past it: as a float
		"0":                time.Unix(0, 0),
		"1.5":              time.UnixMilli(1500),
	} {
		if got, err := epoch([]byte(text)); err != nil || !got.Equal(want) {
			t.Errorf("%s is read as %v (%v), want %v", text, got, err, want)
		}
	}
}

// From the text of a full page to its records.
func BenchmarkDecode(b *testing.B) {
	text := pageText(MaxPageRecords)
	w := &workspace{}
	if _, err := w.decode(text); err != nil { // once, so that the workspace has its size
		b.Fatal(err)
	}
	decode := func() {
		a, err := w.decode(text)
		if err != nil || len(a.records) != MaxPageRecords {
			b.Fatal(len(a.records), err)
		}
		a.memory.release()
	}
	allocations := testing.AllocsPerRun(10, decode)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		decode()
	}
	b.ReportMetric(allocations/MaxPageRecords, "allocs/record")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxPageRecords, "ns/record")
}

// TestDecodeHandlesEveryLength holds the decoder of base64 against Go's own, round the
// sizes at which it changes from vectors to bytes, and with damage everywhere.
func TestDecodeHandlesEveryLength(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	for size := range 300 {
		data := make([]byte, size)
		_, _ = random.Read(data)
		text := base64.StdEncoding.EncodeToString(data)
		// Twice: what is written behind the first must not reach the second.
		page := []byte(`{"Records":[{"SequenceNumber":"1","Data":"` + text + `"},{"SequenceNumber":"2","Data":"` + text + `"}]}`)
		for _, record := range decodePage(t, page).Records {
			if !bytes.Equal(record.Data, data) {
				t.Fatalf("%d bytes became %d others", size, len(record.Data))
			}
		}
		for at := range text {
			damaged := text[:at] + "!" + text[at+1:]
			if _, err := new(workspace).decode([]byte(`{"Records":[{"Data":"` + damaged + `"}]}`)); err == nil {
				t.Fatalf("%d bytes with damage at %d were taken", size, at)
			}
		}
	}
}
