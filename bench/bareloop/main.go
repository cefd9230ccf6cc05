// Command bareloop is what Millrace's processor is measured against: it moves
// the records of a stream into Elasticsearch and does nothing else. No
// library of Kinesis or Elasticsearch, no deduplication, no checkpoint, no
// outcome of an item but "all went well", no retry: it ends at the first
// thing that is not as expected.
//
// It reads GetRecords over HTTP, takes the Data of each record out of the
// text, and sends a page as one _bulk body with the same action and _id as
// Millrace. It uses nothing but the standard library, in this one file; what
// the backup is measured against is in the other one.
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
)

var (
	kinesis       = flag.String("kinesis", "", "address of Kinesis")
	elasticsearch = flag.String("elasticsearch", "", "address of Elasticsearch")
	stream        = flag.String("stream", "", "name of the stream")
	inFlight      = flag.Int("in-flight", 1, "bulk requests in flight a shard")
	limit         = flag.Int("limit", 10_000, "records of a page")
)

var (
	client  = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	moved   atomic.Int64 // records
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

func main() {
	flag.Parse()
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

// read reads one shard to its tip.
func read(shard string, pages chan<- *bytes.Buffer) error {
	defer close(pages)
	var at struct{ ShardIterator string }
	if err := call("GetShardIterator", map[string]any{"StreamName": *stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}, &at); err != nil {
		return err
	}
	for iterator := at.ShardIterator; ; {
		page := buffers.Get().(*bytes.Buffer)
		page.Reset()
		request := []byte(`{"ShardIterator":"` + iterator + `","Limit":` + strconv.Itoa(*limit) + `}`)
		if err := post(*kinesis, "application/x-amz-json-1.1", "Kinesis_20131202.GetRecords", request, page); err != nil {
			return err
		}
		iterator = string(member(page.Bytes(), `"NextShardIterator":"`))
		start := page.Bytes()[:min(page.Len(), 256)] // The replay server says it before the records.
		atTip := bytes.Contains(start, []byte(`"MillisBehindLatest":0,`))
		pages <- page
		if atTip {
			return nil
		}
	}
}

// index sends the records of a page as one bulk request.
func index(page *bytes.Buffer) error {
	body := buffers.Get().(*bytes.Buffer)
	body.Reset()
	const data = `"Data":"`
	count := int64(0)
	var record []byte
	for rest := page.Bytes(); ; count++ {
		begin := bytes.Index(rest, []byte(data))
		if begin < 0 {
			break
		}
		rest = rest[begin+len(data):]
		end := bytes.IndexByte(rest, '"')
		var err error
		if record, err = base64.StdEncoding.AppendDecode(record[:0], rest[:end]); err != nil {
			return fmt.Errorf("decode a record: %w", err)
		}
		rest = rest[end:]
		// {"doc_id":"…","index":"…","received_at":"…", and the rest of the document
		const idAt, idSize, indexAt = 11, 27, 49
		length := bytes.IndexByte(record[indexAt:], '"')
		body.WriteString(`{"create":{"_index":"`)
		body.Write(record[indexAt : indexAt+length])
		body.WriteString(`","_id":"`)
		body.Write(record[idAt : idAt+idSize])
		body.WriteString("\"}}\n{")
		body.Write(record[indexAt+length+2:])
		body.WriteByte('\n')
	}
	buffers.Put(page)
	if count == 0 {
		return nil
	}
	var answer bytes.Buffer
	if err := post(*elasticsearch+"/_bulk?filter_path=errors,items.*.error", "application/x-ndjson", "", body.Bytes(), &answer); err != nil {
		return err
	}
	buffers.Put(body)
	if !bytes.HasPrefix(answer.Bytes(), []byte(`{"errors":false`)) {
		return fmt.Errorf("a bulk request had errors: %.300s", answer.Bytes())
	}
	moved.Add(count)
	return nil
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
	text = text[at+len(key):]
	return text[:bytes.IndexByte(text, '"')]
}
