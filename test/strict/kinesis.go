// Package strict plays services of AWS where they are stricter than their
// emulators, at the wire, so that tests use the real clients.
package strict

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Kinesis is a stream of one shard with the habits of AWS: it trims by its
// retention as that is at the time, for good; it answers with empty pages on the
// way to a record; its iterators belong to one incarnation of the stream. Its
// clock stands still unless it is moved.
type Kinesis struct {
	URL string
	// EmptyPages come before the first record of each iterator, and before the
	// tip, with MillisBehindLatest greater than zero.
	EmptyPages int
	// Refuse answers InvalidArgumentException to an iterator AT a record that is
	// trimmed or unknown; else the iterator silently begins at the trim horizon.
	Refuse bool
	// Carry has iterators of a stream that was deleted go on in the one that was
	// made anew under its name.
	Carry bool

	mu        sync.Mutex
	now       time.Time
	created   time.Time
	gone      bool // deleted, and not made anew
	retention time.Duration
	horizon   time.Time // what arrived before it is trimmed, whatever the retention becomes
	records   []record
	next      int // of the sequence numbers
	blank     int // pages to come that have nothing, and say that it is the tip
	endless   int // pages to come that have no next iterator, although the shard is open
	expired   bool
	calls     map[string]int
}

type record struct {
	sequence int
	arrived  time.Time
	data     []byte
}

// Shard is the id of the one shard.
const Shard = "shardId-000000000000"

// ARN of the stream.
const ARN = "arn:aws:kinesis:eu-west-1:000000000000:stream/strict"

// StartKinesis serves a stream that was created at a time.
func StartKinesis(t testing.TB, created time.Time, retention time.Duration) *Kinesis {
	k := &Kinesis{created: created, now: created, retention: retention, horizon: created.Add(-time.Hour), next: 1000, calls: map[string]int{}}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	k.URL = server.URL
	return k
}

// Put adds a record that arrives now, and returns its sequence number.
func (k *Kinesis) Put(data []byte) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next++
	k.records = append(k.records, record{k.next, k.now, data})
	return strconv.Itoa(k.next)
}

// Pass lets time pass.
func (k *Kinesis) Pass(d time.Duration) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
	k.trim()
	return k.now
}

// Keep changes the retention. What was trimmed before does not come back.
func (k *Kinesis) Keep(retention time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retention = retention
	k.trim()
}

// Recreate deletes the stream and makes it anew under its name, now.
func (k *Kinesis) Recreate() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.created, k.records, k.horizon, k.gone = k.now, nil, k.now.Add(-time.Hour), false
	return k.created
}

// Blank has the next so many pages be empty, as if they were at the tip.
func (k *Kinesis) Blank(pages int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.blank = pages
}

// Endless has the next so many pages end without an iterator, although the shard
// is open.
func (k *Kinesis) Endless(pages int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.endless = pages
}

// Expire has the next iterator that is used be too old.
func (k *Kinesis) Expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expired = true
}

// Calls returns how often an operation was called.
func (k *Kinesis) Calls(operation string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls[operation]
}

func (k *Kinesis) trim() {
	if before := k.now.Add(-k.retention); before.After(k.horizon) {
		k.horizon = before
	}
	k.records = slices.DeleteFunc(k.records, func(r record) bool { return r.arrived.Before(k.horizon) })
}

// ServeHTTP answers a call.
func (k *Kinesis) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	k.calls[operation]++
	var in struct {
		ShardIteratorType, StartingSequenceNumber, ShardIterator string
		Limit                                                    int
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("Date", k.now.UTC().Format(http.TimeFormat))
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		k.fail(w, "SerializationException")
		return
	}
	switch operation {
	case "DescribeStreamSummary":
		k.answer(w, map[string]any{"StreamDescriptionSummary": map[string]any{
			"StreamName": "strict", "StreamARN": ARN, "StreamStatus": "ACTIVE",
			"RetentionPeriodHours": int(k.retention.Hours()), "StreamCreationTimestamp": seconds(k.created),
		}})
	case "ListShards":
		k.answer(w, map[string]any{"Shards": []any{map[string]any{
			"ShardId": Shard, "SequenceNumberRange": map[string]any{"StartingSequenceNumber": "1"},
		}}})
	case "GetShardIterator":
		at := 0
		if in.ShardIteratorType == "AT_SEQUENCE_NUMBER" {
			at, _ = strconv.Atoi(in.StartingSequenceNumber)
			if known := slices.ContainsFunc(k.records, func(r record) bool { return r.sequence == at }); !known && k.Refuse {
				k.fail(w, "InvalidArgumentException")
				return
			}
		}
		k.answer(w, map[string]any{"ShardIterator": k.iterator(at, k.EmptyPages)})
	case "GetRecords":
		k.page(w, in.ShardIterator, in.Limit)
	default:
		k.fail(w, "UnknownOperationException")
	}
}

// iterator has where it goes on, how many empty pages come first, and of which
// incarnation of the stream it is.
func (k *Kinesis) iterator(at, empty int) string {
	return fmt.Sprintf("%d/%d/%d", at, empty, k.created.UnixNano())
}

func (k *Kinesis) page(w http.ResponseWriter, iterator string, limit int) {
	var at, empty int
	var created int64
	if n, _ := fmt.Sscanf(iterator, "%d/%d/%d", &at, &empty, &created); n != 3 || created != k.created.UnixNano() && !k.Carry {
		k.fail(w, "InvalidArgumentException")
		return
	}
	if k.expired {
		k.expired = false
		k.fail(w, "ExpiredIteratorException")
		return
	}
	if k.blank > 0 {
		k.blank--
		k.answer(w, map[string]any{"Records": []any{}, "NextShardIterator": k.iterator(at, empty), "MillisBehindLatest": 0})
		return
	}
	if empty > 0 {
		k.answer(w, map[string]any{"Records": []any{}, "NextShardIterator": k.iterator(at, empty-1), "MillisBehindLatest": time.Hour.Milliseconds()})
		return
	}
	page, behind := []any{}, int64(0)
	for _, r := range k.records {
		if r.sequence < at {
			continue
		}
		if len(page) == max(limit, 1) {
			behind = k.now.Sub(r.arrived).Milliseconds() + 1
			break
		}
		page = append(page, map[string]any{
			"SequenceNumber": strconv.Itoa(r.sequence), "Data": base64.StdEncoding.EncodeToString(r.data),
			"PartitionKey": "k", "ApproximateArrivalTimestamp": seconds(r.arrived),
		})
		at = r.sequence + 1
	}
	out := map[string]any{"Records": page, "NextShardIterator": k.iterator(at, 0), "MillisBehindLatest": behind}
	if k.endless > 0 {
		k.endless--
		delete(out, "NextShardIterator")
	}
	k.answer(w, out)
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (k *Kinesis) answer(w http.ResponseWriter, body any) { _ = json.NewEncoder(w).Encode(body) }

func (k *Kinesis) fail(w http.ResponseWriter, code string) {
	w.WriteHeader(http.StatusBadRequest)
	k.answer(w, map[string]string{"__type": code, "message": "by the strict Kinesis"})
}
