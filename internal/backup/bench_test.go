package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

// BenchmarkReadObject reads an object of records as a recovery does.
func BenchmarkReadObject(b *testing.B) {
	const records = 8000
	var body bytes.Buffer
	packer := gzip.NewWriter(&body)
	at := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	for n := range records {
		record := telemetry.AppendRecord(nil, telemetry.Head{
			Index: "telemetry-span-2026.11.23", ReceivedAt: at, Tenant: "bench", Region: "eu-west-1", ID: fmt.Sprint(n), Type: "span", Timestamp: at,
		}, fmt.Appendf(nil, `{"trace_id":"%016x%016x","name":"GET /orders","duration":%d,"attributes":{"http.response.status_code":200}}`,
			rand.Uint64(), rand.Uint64(), rand.Uint32()))
		fmt.Fprintf(packer, `{"backup_shard":"shardId-000000000001","backup_sequence":"%056d","backup_arrived":"%s",%s`+"\n",
			n, at.Add(time.Duration(n)*time.Millisecond).Format(telemetry.ReceivedAtLayout), record[1:])
	}
	if err := packer.Close(); err != nil {
		b.Fatal(err)
	}
	s := &shelf{bodies: map[string][]byte{"o": body.Bytes()}}
	b.ReportAllocs()
	for b.Loop() {
		r, err := backup.OpenObject(b.Context(), s, "o")
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for ; err == nil; n++ {
			_, err = r.Next()
		}
		if !errors.Is(err, io.EOF) || n-1 != records {
			b.Fatalf("%d records, %v", n-1, err)
		}
		r.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}
