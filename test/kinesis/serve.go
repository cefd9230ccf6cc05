package kinesis

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	contentType = "application/x-amz-json-1.1"
	arnPrefix   = "arn:aws:kinesis:eu-west-1:000000000000:stream/"
)

// request has the members of every call that is served.
type request struct {
	StreamName, StreamARN  string
	ShardCount             int
	RetentionPeriodHours   int
	ShardId, ShardIterator string
	ShardIteratorType      string
	StartingSequenceNumber string
	Limit                  int
	Records                []struct{ Data, PartitionKey, ExplicitHashKey string }
}

// fault is an error of Kinesis.
type fault struct{ code, message string }

func (f *fault) Error() string { return f.code + ": " + f.message }

func invalid(format string, args ...any) error {
	return &fault{"InvalidArgumentException", fmt.Sprintf(format, args...)}
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call request
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		write(w, nil, &fault{"SerializationException", err.Error()})
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	answer, err := s.answer(operation, call)
	write(w, answer, err)
}

func (s *Server) answer(operation string, call request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if operation == "CreateStream" {
		if err := s.create(call.StreamName, call.ShardCount); err != nil {
			return nil, &fault{"ResourceInUseException", err.Error()}
		}
		return struct{}{}, nil
	}
	if name := strings.TrimPrefix(call.StreamARN, arnPrefix); s.name == "" || call.StreamName+name != s.name && call.ShardIterator == "" {
		return nil, &fault{"ResourceNotFoundException", fmt.Sprintf("there is no stream %q", call.StreamName+name)}
	}
	switch operation {
	case "DescribeStreamSummary":
		return map[string]any{"StreamDescriptionSummary": s.describe()}, nil
	case "DescribeStream":
		description := s.describe()
		description["Shards"], description["HasMoreShards"] = s.list(), false
		return map[string]any{"StreamDescription": description}, nil
	case "IncreaseStreamRetentionPeriod":
		s.keeps = call.RetentionPeriodHours
		return struct{}{}, nil
	case "ListShards":
		return map[string]any{"Shards": s.list()}, nil
	case "PutRecords":
		return s.takeAll(call)
	case "GetShardIterator":
		return s.begin(call)
	case "GetRecords":
		return s.read(call)
	}
	return nil, &fault{"UnknownOperationException", operation + " is not served"}
}

func (s *Server) describe() map[string]any {
	return map[string]any{
		"StreamName": s.name, "StreamARN": arnPrefix + s.name, "StreamStatus": "ACTIVE", "StreamCreationTimestamp": seconds(s.created),
		"RetentionPeriodHours": s.keeps, "OpenShardCount": len(s.shards), "EnhancedMonitoring": []any{},
	}
}

func (s *Server) list() (all []any) {
	width := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(int64(len(s.shards))))
	for n := range s.shards {
		first := new(big.Int).Mul(width, big.NewInt(int64(n)))
		last := new(big.Int).Sub(new(big.Int).Add(first, width), big.NewInt(1))
		all = append(all, map[string]any{
			"ShardId":             shardID(n),
			"HashKeyRange":        map[string]string{"StartingHashKey": first.String(), "EndingHashKey": last.String()},
			"SequenceNumberRange": map[string]string{"StartingSequenceNumber": strconv.FormatInt(firstSequence, 10)},
		})
	}
	return all
}

func shardID(n int) string { return fmt.Sprintf("shardId-%012d", n) }

func (s *Server) takeAll(call request) (any, error) {
	if len(call.Records) == 0 || len(call.Records) > mostPutEntries {
		return nil, invalid("%d records", len(call.Records))
	}
	bytes := 0
	for _, r := range call.Records {
		bytes += sizeOf(r.Data) + len(r.PartitionKey)
	}
	if bytes > mostPutBytes {
		return nil, invalid("%d bytes", bytes)
	}
	failed, taken := 0, make([]map[string]string, len(call.Records))
	for i, r := range call.Records {
		shard, ok := s.put(record{data: r.Data, key: r.PartitionKey, bytes: sizeOf(r.Data), explicitHash: r.ExplicitHashKey})
		if !ok {
			failed++
			taken[i] = map[string]string{"ErrorCode": throttled, "ErrorMessage": "Rate exceeded for shard " + shardID(shard)}
			continue
		}
		taken[i] = map[string]string{"SequenceNumber": strconv.FormatInt(s.next, 10), "ShardId": shardID(shard)}
	}
	return map[string]any{"FailedRecordCount": failed, "Records": taken}, nil
}

func (s *Server) begin(call request) (any, error) {
	n, err := s.shard(strings.TrimPrefix(call.ShardId, "shardId-"))
	if err != nil {
		return nil, err
	}
	at := 0
	switch call.ShardIteratorType {
	case "TRIM_HORIZON":
	case "LATEST":
		at = len(s.shards[n].records)
	case "AT_SEQUENCE_NUMBER":
		at = s.find(n, call.StartingSequenceNumber)
	default:
		return nil, invalid("iterators of type %q are not served", call.ShardIteratorType)
	}
	return map[string]string{"ShardIterator": iterator(n, at)}, nil
}

func iterator(shard, at int) string { return fmt.Sprintf("%d/%d", shard, at) }

func (s *Server) shard(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n >= len(s.shards) {
		return 0, invalid("there is no shard %q", text)
	}
	return n, nil
}

func (s *Server) read(call request) (any, error) {
	shard, position, _ := strings.Cut(call.ShardIterator, "/")
	n, err := s.shard(shard)
	if err != nil {
		return nil, err
	}
	at, err := strconv.Atoi(position)
	if err != nil || at < 0 {
		return nil, invalid("iterator %q", call.ShardIterator)
	}
	if call.Limit <= 0 || call.Limit > mostPageRecords {
		call.Limit = mostPageRecords
	}
	records, ok := s.page(n, at, call.Limit)
	if !ok {
		return nil, &fault{throttled, "Rate exceeded for shard " + shardID(n)}
	}
	page := make([]any, len(records))
	for i, r := range records {
		page[i] = map[string]any{
			"SequenceNumber": strconv.FormatInt(r.sequence, 10), "Data": r.data, "PartitionKey": r.key,
			"ApproximateArrivalTimestamp": seconds(r.arrived),
		}
	}
	behind := int64(0)
	if rest := s.shards[n].records; at+len(records) < len(rest) {
		behind = s.now().Sub(rest[at+len(records)].arrived).Milliseconds() + 1
	}
	return map[string]any{"Records": page, "NextShardIterator": iterator(n, at+len(records)), "MillisBehindLatest": behind}, nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func write(w http.ResponseWriter, answer any, err error) {
	w.Header().Set("Content-Type", contentType)
	if err != nil {
		code := "InternalFailure"
		if f, ok := err.(*fault); ok { //nolint:errorlint // made here
			code = f.code
		}
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": code, "message": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer) // an error means that the caller has gone
}
