// Package replay is a Kinesis that keeps nothing: it serves records from memory
// that it was loaded with, as fast as they are asked for, under any stream
// name. So a benchmark of a consumer measures the consumer.
//
// The records of a shard lie encoded, one behind the other, as they stand in
// the answer of GetRecords. A page is a piece of that memory between two short
// strings, whatever limit the call asks for: nothing is encoded or copied
// while a benchmark runs.
//
// It speaks the JSON 1.1 protocol of DescribeStreamSummary, DescribeStream,
// ListShards, ListTagsForStream, GetShardIterator and GetRecords, without quotas.
// PutRecords succeeds, and what it puts is counted and forgotten: to measure who puts.
package replay

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"sync"
	"time"

	"millrace/internal/container"
	"millrace/internal/telemetry"
)

// Server serves one set of records. It is an http.Handler.
type Server struct {
	shards  []*shard
	created time.Time
	form    container.Form // of the records, also of those that are put

	mu    sync.Mutex
	reads map[string]*Reads // by stream name
	puts  map[string]*Puts  // likewise
}

// Reads is what was read of a stream.
type Reads struct {
	First   time.Time `json:"first"` // when the first GetRecords came
	Records int       `json:"records"`
	Calls   int       `json:"calls"`
}

// Puts is what was put into a stream.
type Puts struct {
	Calls   int   `json:"calls"`
	Records int   `json:"records"`
	Bytes   int64 `json:"bytes"` // of data and partition keys
	Units   int   `json:"units"` // PUT payload units
}

// shard is the encoded records of one shard: record i is
// encoded[ends[i-1]+1:ends[i]], the byte between two of them a comma.
type shard struct {
	id      string
	encoded []byte
	ends    []int
}

// New loads documents into shards, by their partition keys as Kinesis does: each as a record of the stream or, if that many
// documents go into one, in packs.
func New(documents [][]byte, shards, perRecord int) (*Server, error) {
	s := &Server{created: time.Now().Truncate(time.Second), reads: map[string]*Reads{}, puts: map[string]*Puts{}}
	if perRecord > 1 {
		s.form = container.Pack
	}
	for i := range shards {
		s.shards = append(s.shards, &shard{id: fmt.Sprintf("shardId-%012d", i)})
	}
	of := make([][][]byte, shards)
	for _, d := range documents {
		key, err := telemetry.PartitionKey(d)
		if err != nil {
			return nil, fmt.Errorf("load a document: %w", err)
		}
		at := place(key, shards)
		of[at] = append(of[at], d)
	}
	arrived := strconv.AppendFloat(nil, float64(s.created.UnixMilli())/1e3, 'f', 3, 64)
	for at, documents := range of {
		for some := range slices.Chunk(documents, perRecord) {
			data := some[0]
			if s.form == container.Pack {
				data = container.AppendPack(nil, some)
			}
			key, _ := telemetry.PartitionKey(some[0]) // it has one: see above
			s.shards[at].append(data, key, arrived)
		}
	}
	return s, nil
}

// place returns the shard of a partition key: its MD5 in equal hash ranges.
func place(key string, shards int) int {
	sum := md5.Sum([]byte(key))
	high, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), uint64(shards))
	return int(high)
}

// hashRange returns the first hash and the last of a shard, as place has it.
func hashRange(at, shards int) (first, last string) {
	bound := func(at int) *big.Int { // the least hash whose 64 high bits, times shards, reach at times 2^64
		n := new(big.Int).Lsh(big.NewInt(int64(at)), 64)
		n.Add(n, big.NewInt(int64(shards-1)))
		n.Quo(n, big.NewInt(int64(shards)))
		return n.Lsh(n, 64)
	}
	return bound(at).String(), bound(at+1).Sub(bound(at+1), big.NewInt(1)).String()
}

func (s *shard) append(data []byte, key string, arrived []byte) {
	b := s.encoded
	if len(s.ends) > 0 {
		b = append(b, ',')
	}
	b = append(b, `{"SequenceNumber":"`...)
	b = append(b, sequence(len(s.ends))...)
	b = append(b, `","ApproximateArrivalTimestamp":`...)
	b = append(b, arrived...)
	b = append(b, `,"Data":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	b = append(b, `","PartitionKey":"`...)
	b = append(b, key...)
	b = append(b, `"}`...)
	s.encoded, s.ends = b, append(s.ends, len(b))
}

// page returns up to limit records from a position on, as they stand in an
// answer, and the position behind them.
func (s *shard) page(from, limit int) (encoded []byte, next int) {
	next = min(from+limit, len(s.ends))
	if next <= from {
		return nil, from
	}
	begin := 0
	if from > 0 {
		begin = s.ends[from-1] + 1
	}
	for next > from+1 && s.ends[next-1]-begin > maxPage {
		next = from + (next-from)/2
	}
	return s.encoded[begin:s.ends[next-1]], next
}

// sequencePrefix and the position in 16 digits are as long as Kinesis's own
// sequence numbers: 56 digits.
const sequencePrefix = "4959033827149025660855969253836157109592"

func sequence(position int) string { return fmt.Sprintf("%s%016d", sequencePrefix, position) }

// position returns where the record of a sequence number stands.
func position(sequence string) (int, error) {
	digits, ours := bytes.CutPrefix([]byte(sequence), []byte(sequencePrefix))
	if !ours {
		return 0, fmt.Errorf("unknown sequence number %q", sequence)
	}
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0, fmt.Errorf("read sequence number %q: %w", sequence, err)
	}
	return n, nil
}

// Puts returns what has been put into a stream so far.
func (s *Server) Puts(stream string) Puts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.puts[stream]; p != nil {
		return *p
	}
	return Puts{}
}

// Reads returns what has been read of a stream so far.
func (s *Server) Reads(stream string) Reads {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.reads[stream]; r != nil {
		return *r
	}
	return Reads{}
}

func (s *Server) count(stream string, records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reads[stream]
	if r == nil {
		r = &Reads{First: time.Now()}
		s.reads[stream] = r
	}
	r.Calls++
	r.Records += records
}

// shard finds a shard by its id.
func (s *Server) shard(id string) (int, error) {
	n, found := slices.BinarySearchFunc(s.shards, id, func(s *shard, id string) int { return cmp.Compare(s.id, id) })
	if !found {
		return 0, fmt.Errorf("no shard %q", id)
	}
	return n, nil
}
