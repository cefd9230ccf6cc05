package replay

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"millrace/internal/container"
	"millrace/internal/stream"
)

const (
	contentType = "application/x-amz-json-1.1"
	arnPrefix   = "arn:aws:kinesis:eu-west-1:000000000000:stream/"
	maxLimit    = 10_000 // records of a page (GetRecords, API reference)
	// maxPage is the most of a page, in base64: 10 MiB of records (likewise).
	maxPage = 10 << 20 / 3 * 4

	// ReadsPath is where GET answers Reads of the stream named by its query
	// parameter stream, as JSON.
	ReadsPath = "/reads"
	// PutsPath is where GET answers its Puts.
	PutsPath = "/puts"
)

// request has the members of every call that we know.
type request struct {
	StreamName, StreamARN             string
	ShardId, ShardIterator, NextToken string
	ShardIteratorType                 string
	StartingSequenceNumber            string
	Limit                             int
	Records                           []entry // of PutRecords
}

type entry struct {
	Data, PartitionKey string // Data in base64: its size is all that counts
}

// size is what the entry has in bytes.
func (e entry) size() int {
	return base64.RawStdEncoding.DecodedLen(len(strings.TrimRight(e.Data, "="))) + len(e.PartitionKey)
}

// stream returns the name, which calls may give in the ARN instead.
func (r request) stream() string {
	if r.StreamName != "" {
		return r.StreamName
	}
	return strings.TrimPrefix(r.StreamARN, arnPrefix)
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == ReadsPath {
		write(w, s.Reads(r.URL.Query().Get("stream")))
		return
	}
	if r.URL.Path == PutsPath {
		write(w, s.Puts(r.URL.Query().Get("stream")))
		return
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return // The caller has gone.
	}
	var call request
	if err := json.Unmarshal(text, &call); err != nil {
		refuse(w, "SerializationException", err)
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var answer any
	switch operation {
	case "GetRecords":
		if err := s.getRecords(w, call); err != nil {
			refuse(w, "InvalidArgumentException", err)
		}
		return
	case "GetShardIterator":
		answer, err = s.getShardIterator(call)
	case "PutRecords":
		answer = s.take(call)
	case "ListTagsForStream":
		answer = map[string]any{"HasMoreTags": false, "Tags": []map[string]string{{"Key": stream.FormTag, "Value": s.form.String() + "@0"}}}
	case "ListShards":
		answer = map[string]any{"Shards": s.listShards()}
	case "DescribeStreamSummary":
		answer = map[string]any{"StreamDescriptionSummary": s.describe(call.stream())}
	case "DescribeStream":
		description := s.describe(call.stream())
		description["Shards"], description["HasMoreShards"] = s.listShards(), false
		answer = map[string]any{"StreamDescription": description}
	default:
		err = fmt.Errorf("operation %q is not served", operation)
	}
	if err != nil {
		refuse(w, "InvalidArgumentException", err)
		return
	}
	write(w, answer)
}

// take says that records are put, and forgets them: what puts can be measured
// without what a stream costs.
func (s *Server) take(call request) any {
	taken := make([]map[string]string, len(call.Records))
	more := Puts{Calls: 1, Records: len(call.Records)}
	for i, e := range call.Records {
		size := e.size()
		more.Bytes, more.Units = more.Bytes+int64(size), more.Units+(size+container.PutUnit-1)/container.PutUnit
		taken[i] = map[string]string{"SequenceNumber": sequence(i), "ShardId": s.shards[place(e.PartitionKey, len(s.shards))].id}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.puts[call.stream()]
	if p == nil {
		p = &Puts{}
		s.puts[call.stream()] = p
	}
	*p = Puts{p.Calls + more.Calls, p.Records + more.Records, p.Bytes + more.Bytes, p.Units + more.Units}
	return map[string]any{"FailedRecordCount": 0, "Records": taken}
}

func (s *Server) describe(stream string) map[string]any {
	return map[string]any{
		"StreamName": stream, "StreamARN": arnPrefix + stream, "StreamStatus": "ACTIVE",
		"StreamCreationTimestamp": s.created.Unix(), "RetentionPeriodHours": 24, "OpenShardCount": len(s.shards),
		"EnhancedMonitoring": []any{},
	}
}

func (s *Server) listShards() []map[string]any {
	var shards []map[string]any
	for at, shard := range s.shards {
		first, last := hashRange(at, len(s.shards))
		shards = append(shards, map[string]any{
			"ShardId": shard.id, "HashKeyRange": map[string]string{"StartingHashKey": first, "EndingHashKey": last},
			"SequenceNumberRange": map[string]string{"StartingSequenceNumber": sequence(0)},
		})
	}
	return shards
}

func (s *Server) getShardIterator(call request) (any, error) {
	n, err := s.shard(call.ShardId)
	if err != nil {
		return nil, err
	}
	at := 0
	switch call.ShardIteratorType {
	case "TRIM_HORIZON":
	case "LATEST":
		at = len(s.shards[n].ends)
	case "AT_SEQUENCE_NUMBER":
		at, err = position(call.StartingSequenceNumber)
	case "AFTER_SEQUENCE_NUMBER":
		at, err = position(call.StartingSequenceNumber)
		at++
	default:
		err = fmt.Errorf("iterators of type %q are not served", call.ShardIteratorType)
	}
	return map[string]string{"ShardIterator": iterator(call.stream(), n, at)}, err
}

func iterator(stream string, shard, at int) string {
	return stream + "/" + strconv.Itoa(shard) + "/" + strconv.Itoa(at)
}

func (s *Server) getRecords(w http.ResponseWriter, call request) error {
	parts := strings.Split(call.ShardIterator, "/")
	if len(parts) != 3 {
		return fmt.Errorf("iterator %q", call.ShardIterator)
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n < 0 || n >= len(s.shards) {
		return fmt.Errorf("iterator %q", call.ShardIterator)
	}
	at, err := strconv.Atoi(parts[2])
	if err != nil || at < 0 {
		return fmt.Errorf("iterator %q", call.ShardIterator)
	}
	if call.Limit <= 0 || call.Limit > maxLimit {
		call.Limit = maxLimit
	}
	encoded, next := s.shards[n].page(at, call.Limit)
	s.count(parts[0], next-at)

	behind := 0
	if next < len(s.shards[n].ends) {
		behind = int(time.Since(s.created).Milliseconds())
	}
	// The iterator goes first, as it need not in JSON, so that what follows
	// the long part is fixed.
	head := fmt.Sprintf(`{"NextShardIterator":"%s","MillisBehindLatest":%d,"Records":[`, iterator(parts[0], n, next), behind)
	const tail = "]}"
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(head)+len(encoded)+len(tail)))
	for _, part := range [][]byte{[]byte(head), encoded, []byte(tail)} {
		if _, err := w.Write(part); err != nil {
			return nil // The caller has gone.
		}
	}
	return nil
}

func write(w http.ResponseWriter, answer any) {
	text, err := json.Marshal(answer)
	if err != nil { // cannot happen: strings, numbers and times
		panic(fmt.Sprintf("encode an answer: %v", err))
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(text) // An error means that the caller has gone.
}

func refuse(w http.ResponseWriter, kind string, err error) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Amzn-Errortype", kind)
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": kind, "message": err.Error()})
}
