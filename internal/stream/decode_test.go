package stream

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// pageText is a GetRecords response with records of 450 bytes.
func pageText(records int) []byte {
	data := base64.StdEncoding.EncodeToString([]byte(`{"doc_id":"` + strings.Repeat("x", 437) + `"}`))
	var text strings.Builder
	text.WriteString(`{"NextShardIterator":"next","MillisBehindLatest":1000,"Records":[`)
	for n := range records {
		if n > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"SequenceNumber":"%056d","ApproximateArrivalTimestamp":1.7E9,"Data":"%s","PartitionKey":"%040d"}`, n, data, n)
	}
	text.WriteString(`]}`)
	return []byte(text.String())
}

// From the text of a full page to its records.
func BenchmarkDecode(b *testing.B) {
	text := pageText(MaxPageRecords)
	w := &workspace{}
	if _, err := w.decode(text); err != nil { // once, so that the workspace has its size
		b.Fatal(err)
	}
	decode := func() {
		if a, err := w.decode(text); err != nil || len(a.records) != MaxPageRecords {
			b.Fatal(len(a.records), err)
		}
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
