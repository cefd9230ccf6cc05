// Package data makes the records of the benchmarks: spans of about 450 bytes,
// as a collector writes them to the stream.
package data

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"millrace/internal/telemetry"
)

// What stands in the head of every record.
const (
	Tenant = "bench"
	Region = "eu-west-1"
	Type   = "span"
)

// usualSize of a record in bytes, head included, with room to spare.
const usualSize = 512

// Index is the one index to which all records of a time go.
func Index(at time.Time) string { return telemetry.IndexName(Type, at) }

// Records returns stream records in the order of their numbers, ids and
// everything else a function of the number and the time. They share one
// buffer.
func Records(count int, at time.Time) [][]byte { return Traced(count, 0, at) }

// Traced returns the same records, of which each that many belongs to a trace; none, if
// every is 0.
func Traced(count, every int, at time.Time) [][]byte {
	random := rand.New(rand.NewPCG(0, 0))
	buffer := make([]byte, 0, count*usualSize)
	ends := make([]int, count)
	head := telemetry.Head{Index: Index(at), ReceivedAt: at, Tenant: Tenant, Region: Region, Type: Type, Timestamp: at}
	var body []byte
	for n := range count {
		head.ID = strconv.Itoa(n)
		body = appendSpan(body[:0], random)
		if head.Trace = ""; every > 0 && n%every == 0 {
			head.Trace = fmt.Sprintf("00-%032x-%016x-01", n+1, n+1)
		}
		buffer = telemetry.AppendRecord(buffer, head, body)
		ends[n] = len(buffer)
	}
	records := make([][]byte, count)
	begin := 0
	for n, end := range ends {
		records[n] = buffer[begin:end:end]
		begin = end
	}
	return records
}

var (
	routes   = []string{"/orders/{id}", "/orders", "/products/{id}", "/carts/{id}/items", "/login", "/search"}
	services = []string{"checkout", "catalog", "payment", "shipping", "search", "identity"}
)

func appendSpan(dst []byte, random *rand.Rand) []byte {
	var id [24]byte
	for i := range id {
		id[i] = byte(random.Uint32())
	}
	route := routes[random.IntN(len(routes))]
	dst = append(dst, `{"trace_id":"`...)
	dst = hex.AppendEncode(dst, id[:16])
	dst = append(dst, `","span_id":"`...)
	dst = hex.AppendEncode(dst, id[16:])
	dst = append(dst, `","name":"GET `...)
	dst = append(dst, route...)
	dst = append(dst, `","duration":`...)
	dst = strconv.AppendUint(dst, random.Uint64N(900_000_000), 10)
	dst = append(dst, `,"attributes":{"http.response.status_code":`...)
	dst = strconv.AppendUint(dst, 200+100*random.Uint64N(4), 10)
	dst = append(dst, `},"resource":{"attributes":{"service.name":"`...)
	dst = append(dst, services[random.IntN(len(services))]...)
	return append(dst, `"}}}`...)
}
