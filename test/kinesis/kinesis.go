// Package kinesis is a Kinesis in memory with the quotas of AWS, for tests that
// ask what one tenant notices of another. The emulators have no quotas, and answer
// one call at a time: while they store the burst of one tenant, which Kinesis
// refuses beyond its quota, all others wait for seconds.
//
// It has one stream, which it never trims, and speaks the JSON 1.1 protocol of what
// Millrace calls when it polls.
package kinesis

import (
	"crypto/md5" //nolint:gosec // Kinesis's own hash of partition keys
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
	"strconv"
	"sync"
	"time"
)

// Quotas of a shard and of a call (Kinesis Data Streams Developer Guide, "Quotas and
// limits"; PutRecords and GetRecords, API reference).
const (
	putRecords, putBytes       = 1000, 1 << 20 // a second
	getCalls, getBytes         = 5, 2 << 20    // a second
	mostPutEntries             = 500
	mostPutBytes               = 5 << 20
	mostPageRecords            = 10_000
	mostPageBytes              = 10 << 20
	throttled                  = "ProvisionedThroughputExceededException"
	firstSequence        int64 = 1_000_000_000_000
)

// Server is a Kinesis. It is an http.Handler.
type Server struct {
	now func() time.Time

	mu      sync.Mutex
	name    string // of the stream; empty until it is created
	created time.Time
	keeps   int // hours
	shards  []*shard
	next    int64 // sequence number
}

type shard struct {
	records                        []record
	inRecords, inBytes, out, calls bucket
}

type record struct {
	sequence     int64
	arrived      time.Time
	data, key    string // data as it came, in base64
	bytes        int    // of the data
	explicitHash string
}

// bucket has the tokens of a quota for one second. It may owe some.
type bucket struct {
	rate, tokens float64
	at           time.Time
}

func (b *bucket) fill(now time.Time) {
	b.tokens, b.at = min(b.rate, b.tokens+b.rate*now.Sub(b.at).Seconds()), now
}

// New returns a Kinesis without a stream.
func New() *Server { return &Server{now: time.Now, next: firstSequence} }

// create makes the stream, once.
func (s *Server) create(name string, shards int) error {
	if s.name != "" {
		return fmt.Errorf("stream %s is there already", s.name)
	}
	s.name, s.created, s.keeps = name, s.now(), 24
	for range shards {
		s.shards = append(s.shards, &shard{
			inRecords: full(putRecords), inBytes: full(putBytes), out: full(getBytes), calls: full(getCalls),
		})
	}
	return nil
}

func full(rate float64) bucket { return bucket{rate: rate, tokens: rate} }

// put stores a record, or reports that its shard's quota is used up.
func (s *Server) put(r record) (shard int, taken bool) {
	shard = s.shardOf(r)
	to, now := s.shards[shard], s.now()
	to.inRecords.fill(now)
	to.inBytes.fill(now)
	if to.inRecords.tokens < 1 || to.inBytes.tokens < float64(r.bytes) {
		return shard, false
	}
	to.inRecords.tokens--
	to.inBytes.tokens -= float64(r.bytes)
	s.next++
	r.sequence, r.arrived = s.next, now
	to.records = append(to.records, r)
	return shard, true
}

// shardOf is the shard whose range of hash keys a record falls into.
func (s *Server) shardOf(r record) int {
	var high uint64
	if hash, ok := new(big.Int).SetString(r.explicitHash, 10); ok {
		high = new(big.Int).Rsh(hash, 64).Uint64()
	} else {
		sum := md5.Sum([]byte(r.key)) //nolint:gosec // likewise
		high = binary.BigEndian.Uint64(sum[:])
	}
	shard, _ := bits.Mul64(high, uint64(len(s.shards)))
	return int(shard)
}

// page returns the records from a position on, within the quotas of reading.
func (s *Server) page(shard, at, limit int) (records []record, taken bool) {
	from, now := s.shards[shard], s.now()
	from.calls.fill(now)
	from.out.fill(now)
	if from.calls.tokens < 1 || from.out.tokens < 0 { // a page may owe what comes within the next seconds
		return nil, false
	}
	from.calls.tokens--
	bytes := 0
	for _, r := range from.records[min(at, len(from.records)):] {
		if bytes += r.bytes; len(records) == limit || bytes > mostPageBytes {
			break
		}
		records = append(records, r)
		from.out.tokens -= float64(r.bytes)
	}
	return records, true
}

// find returns the position of a sequence number in a shard, or of what follows it.
func (s *Server) find(shard int, sequence string) int {
	wanted, err := strconv.ParseInt(sequence, 10, 64)
	if err != nil {
		return 0
	}
	records := s.shards[shard].records
	low, high := 0, len(records)
	for low < high {
		if middle := (low + high) / 2; records[middle].sequence < wanted {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// sizeOf is the number of bytes that a text in base64 stands for.
func sizeOf(text string) int {
	n := base64.StdEncoding.DecodedLen(len(text))
	for i := len(text) - 1; i >= 0 && text[i] == '='; i-- {
		n--
	}
	return n
}
