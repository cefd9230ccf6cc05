// Command bareloop is what Millrace's processor is measured against: it moves
// the records of a stream into Elasticsearch and does nothing else. No
// library of Kinesis or Elasticsearch, no deduplication, no checkpoint, no
// outcome of an item but "all went well", no retry: it ends at the first
// thing that is not as expected.
//
// It reads GetRecords over HTTP, takes the Data of each record out of the
// text, unpacks it if it is a pack, and sends a page as one _bulk body with the same action and _id as
// Millrace. It uses nothing but the standard library, and the one of zstd, in this one file; what
// the backup and a backfill are measured against is in the others.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
)

var (
	kinesis       = flag.String("kinesis", "", "address of Kinesis")
	elasticsearch = flag.String("elasticsearch", "", "address of Elasticsearch")
	stream        = flag.String("stream", "", "name of the stream")
	inFlight      = flag.Int("in-flight", 1, "bulk requests in flight a shard")
	limit         = flag.Int("limit", 10_000, "records of a page")
	poll          = flag.Duration("poll", 0, "read a shard that often, without end, and say in each document when it is sent; 0: as fast as can be, to its tip")
)

var (
	packs, _ = zstd.NewReader(nil) // no option is wrong
	client   = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	moved    atomic.Int64 // records
	buffers  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

func main() {
	flag.Parse()
	if *backfilling {
		must(backfill())
		fmt.Println(moved.Load())
		return
	}
	var listed struct{ Shards []struct{ ShardId string } }
	must(call("ListShards", map[string]any{"StreamName": *stream}, &listed))
	var wait sync.WaitGroup
	for _, shard := range listed.Shards {
		wait.Go(func() {
			if *s3Address != "" {
				must(backUp(shard.ShardId))
				return
			}
			must(drain(shard.ShardId))
		})
	}
	wait.Wait()
	fmt.Println(moved.Load())
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// drain moves one shard, page by page.
func drain(shard string) error {
	pages := make(chan *bytes.Buffer)
	var senders sync.WaitGroup
	for range *inFlight {
		senders.Go(func() {
			for page := range pages {
				must(index(page))
			}
		})
	}
	err := read(shard, pages)
	senders.Wait()
	return err
}

// read reads one shard to its tip, or without end.
func read(shard string, pages chan<- *bytes.Buffer) error {
	defer close(pages)
	var at struct{ ShardIterator string }
	if err := call("GetShardIterator", map[string]any{"StreamName": *stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}, &at); err != nil {
		return err
	}
	var tick <-chan time.Time
	if *poll > 0 {
		tick = time.Tick(*poll)
	}
	for iterator := at.ShardIterator; ; {
		if tick != nil {
			<-tick
		}
		page := buffers.Get().(*bytes.Buffer)
		page.Reset()
		request := []byte(`{"ShardIterator":"` + iterator + `","Limit":` + strconv.Itoa(*limit) + `}`)
		if err := post(*kinesis, "application/x-amz-json-1.1", "Kinesis_20131202.GetRecords", request, page); err != nil {
			return err
		}
		iterator = string(member(page.Bytes(), `"NextShardIterator":`))
		start := page.Bytes()[:min(page.Len(), 256)] // The replay server says it before the records.
		atTip := bytes.Contains(start, []byte(`"MillisBehindLatest":0,`))
		pages <- page
		if atTip && tick == nil {
			return nil
		}
	}
}

// index sends the records of a page as one bulk request.
func index(page *bytes.Buffer) error {
	body := buffers.Get().(*bytes.Buffer)
	body.Reset()
	const data = `"Data":`
	count := 0
	var record, plain []byte
	for rest := page.Bytes(); ; {
		begin := bytes.Index(rest, []byte(data))
		if begin < 0 {
			break
		}
		rest = quoted(rest[begin+len(data):])
		end := bytes.IndexByte(rest, '"')
		var err error
		if record, err = base64.StdEncoding.AppendDecode(record[:0], rest[:end]); err != nil {
			return fmt.Errorf("decode a record: %w", err)
		}
		rest = rest[end:]
		if record[0] == '{' {
			add(body, record)
			count++
			continue
		}
		if plain, err = packs.DecodeAll(record, plain[:0]); err != nil {
			return fmt.Errorf("decompress a record: %w", err)
		}
		for documents := plain; len(documents) > 0; count++ {
			end := bytes.IndexByte(documents, '\n')
			add(body, documents[:end])
			documents = documents[end+1:]
		}
	}
	buffers.Put(page)
	_, err := send(body, count)
	return err
}

// send sends a bulk request, and returns a buffer for the next one.
func send(body *bytes.Buffer, count int) (*bytes.Buffer, error) {
	if count == 0 {
		return body, nil
	}
	var answer bytes.Buffer
	if err := post(*elasticsearch+"/_bulk?filter_path=errors,items.*.error", "application/x-ndjson", "", body.Bytes(), &answer); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(answer.Bytes(), []byte(`{"errors":false`)) {
		return nil, fmt.Errorf("a bulk request had errors: %.300s", answer.Bytes())
	}
	moved.Add(int64(count))
	buffers.Put(body)
	next := buffers.Get().(*bytes.Buffer)
	next.Reset()
	return next, nil
}

// add adds a document: {"doc_id":"…","index":"…","received_at":"…", and the rest.
func add(body *bytes.Buffer, document []byte) {
	const idAt, idSize, indexAt = 11, 27, 49
	length := bytes.IndexByte(document[indexAt:], '"')
	body.WriteString(`{"create":{"_index":"`)
	body.Write(document[indexAt : indexAt+length])
	body.WriteString(`","_id":"`)
	body.Write(document[idAt : idAt+idSize])
	body.WriteString("\"}}\n{")
	if *poll > 0 {
		body.WriteString(time.Now().UTC().Format(`"indexed_at":"2006-01-02T15:04:05.000Z",`))
	}
	body.Write(document[indexAt+length+2:])
	body.WriteByte('\n')
}

// call makes one of the calls that are not repeated.
func call(operation string, input, output any) error {
	request, err := json.Marshal(input)
	if err != nil {
		return err
	}
	var answer bytes.Buffer
	if err := post(*kinesis, "application/x-amz-json-1.1", "Kinesis_20131202."+operation, request, &answer); err != nil {
		return err
	}
	return json.Unmarshal(answer.Bytes(), output)
}

func post(url, contentType, target string, body []byte, answer *bytes.Buffer) error {
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	if target != "" {
		request.Header.Set("X-Amz-Target", target)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.ContentLength > 0 {
		answer.Grow(int(response.ContentLength) + bytes.MinRead)
	}
	if _, err := answer.ReadFrom(response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(url + " answered " + response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// member returns a string of the answer that has nothing to unescape.
func member(text []byte, key string) []byte {
	at := bytes.Index(text, []byte(key))
	if at < 0 {
		return nil
	}
	text = quoted(text[at+len(key):])
	return text[:bytes.IndexByte(text, '"')]
}

// quoted returns what is behind the first quote, before which emulators put a space.
func quoted(text []byte) []byte { return text[bytes.IndexByte(text, '"')+1:] }
