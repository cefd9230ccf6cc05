// Command floor is the least that a collector can be. It looks up a key, reads a
// body within a limit, checks that it is JSON, cuts it into its elements, and puts
// these, with those of other requests, into a stream before it answers: in as many packs as the
// collector makes of them, one for each shard, but by turns. No record
// gets a head, an id or an index, none is looked at, and one that the stream
// rejects is lost. It imports none of our packages: what the collector costs is
// measured against it, so it changes only when the work does that both must do.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	maxBody    = 10 << 20             // bytes, as the collector's
	linger     = 5 * time.Millisecond // as the collector's
	maxRecords = 500                  // of a call (PutRecords, API reference)
	maxBytes   = 4 << 20              // less than the 5 MiB of a call, in base64
	inFlight   = 32                   // calls, as the collector's
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	stream := flag.String("stream", "", "address of the stream's API")
	key := flag.String("key", "", "API key that is accepted")
	shards := flag.Int("shards", 4, "shards of the stream: packs that are made of a batch")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *stream, *key, *shards); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, stream, key string, shards int) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return fmt.Errorf("make an encoder: %w", err)
	}
	c := &collector{
		stream: stream, shards: shards, encoder: encoder, keys: map[[sha256.Size]byte]string{sha256.Sum256([]byte(key)): "bench"},
		requests: make(chan *request), places: make(chan struct{}, inFlight),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}, Timeout: time.Minute},
	}
	go c.gather(ctx)
	server := &http.Server{Addr: listen, Handler: c, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

type collector struct {
	stream   string
	shards   int
	encoder  *zstd.Encoder
	keys     map[[sha256.Size]byte]string // tenants by the hash of their keys
	requests chan *request
	places   chan struct{}
	client   *http.Client
}

// request is one that waits for its records to be in the stream.
type request struct {
	elements [][]byte
	bytes    int
	done     chan error
}

// ServeHTTP takes a JSON array. GET says that it is ready.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		return
	}
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "ApiKey ")
	if c.keys[sha256.Sum256([]byte(key))] == "" {
		http.Error(w, "no such key", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || !json.Valid(body) {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	own := &request{elements: cut(body), bytes: len(body), done: make(chan error, 1)}
	c.requests <- own
	if err := <-own.done; err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// cut returns the elements of a valid JSON array.
func cut(array []byte) (elements [][]byte) {
	depth, begin, quoted := 0, -1, false
	for i := 0; i < len(array); i++ {
		b := array[i]
		switch {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			if depth++; depth == 2 {
				begin = i
			}
		case b == '}' || b == ']':
			if depth--; depth == 1 {
				elements = append(elements, array[begin:i+1])
			}
		}
	}
	return elements
}

// gather makes batches of what arrives within a moment.
func (c *collector) gather(ctx context.Context) {
	var batch []*request
	records, size := 0, 0
	timer := time.NewTimer(linger)
	timer.Stop()
	send := func() {
		timer.Stop()
		c.places <- struct{}{}
		go c.send(batch)
		batch, records, size = nil, 0, 0
	}
	for {
		select {
		case r := <-c.requests:
			if len(batch) > 0 && (records+len(r.elements) > maxRecords || size+r.bytes > maxBytes) {
				send()
			}
			if len(batch) == 0 {
				timer.Reset(linger)
			}
			batch, records, size = append(batch, r), records+len(r.elements), size+r.bytes
		case <-timer.C:
			if len(batch) > 0 {
				send()
			}
		case <-ctx.Done():
			return
		}
	}
}

func (c *collector) send(batch []*request) {
	err := c.put(batch)
	<-c.places
	for _, r := range batch {
		r.done <- err
	}
}

// put makes one PutRecords call.
func (c *collector) put(batch []*request) error {
	var body []byte
	body = append(body, `{"StreamName":"floor","Records":[`...)
	plain, keys := make([][]byte, c.shards), make([][md5.Size]byte, c.shards)
	n := 0
	for _, r := range batch {
		for _, element := range r.elements {
			pack := n % c.shards
			hash := md5.Sum(element) // of each, as the collector needs it
			if n++; len(plain[pack]) == 0 {
				keys[pack] = hash
			}
			plain[pack] = append(append(plain[pack], element...), '\n')
		}
	}
	var packed []byte
	for i, text := range plain[:min(n, c.shards)] {
		if i > 0 {
			body = append(body, ',')
		}
		packed = c.encoder.EncodeAll(text, packed[:0])
		body = append(body, `{"Data":"`...)
		body = base64.StdEncoding.AppendEncode(body, packed)
		body = append(body, `","PartitionKey":"`...)
		body = hex.AppendEncode(body, keys[i][:])
		body = append(body, `"}`...)
	}
	body = append(body, `]}`...)
	call, err := http.NewRequest(http.MethodPost, c.stream, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make a call: %w", err)
	}
	call.Header.Set("Content-Type", "application/x-amz-json-1.1")
	call.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
	response, err := c.client.Do(call)
	if err != nil {
		return fmt.Errorf("put records: %w", err)
	}
	defer response.Body.Close()
	var answer struct{ FailedRecordCount *int }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	if response.StatusCode != http.StatusOK || answer.FailedRecordCount == nil || *answer.FailedRecordCount > 0 {
		return fmt.Errorf("the stream answers %s", response.Status)
	}
	return nil
}
