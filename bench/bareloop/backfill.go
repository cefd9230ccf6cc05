package main

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// With this it is what a backfill is measured against: each object of the backup is read, decompressed, and sent as bulk
// requests, some objects at a time. Nothing is looked up, or kept to go on from.
var backfilling = flag.Bool("backfill", false, "index what is in the bucket, and not what is in the stream")

// backfillAtOnce is how many objects are read at a time, for each of -in-flight: as many as the streams of the benchmarks have shards.
const backfillAtOnce = 4

// backfill indexes all objects of the bucket.
func backfill() error {
	keys := make(chan string)
	var readers sync.WaitGroup
	for range backfillAtOnce * *inFlight {
		readers.Go(func() {
			for key := range keys {
				must(indexObject(key))
			}
		})
	}
	err := list(keys)
	close(keys)
	readers.Wait()
	return err
}

// list sends the keys of all objects.
func list(keys chan<- string) error {
	for after := ""; ; {
		var page struct {
			IsTruncated           bool
			NextContinuationToken string
			Contents              []struct{ Key string }
		}
		query := url.Values{"list-type": {"2"}, "prefix": {"backup/"}}
		if after != "" {
			query.Set("continuation-token", after)
		}
		body, err := get(*s3Address + "/" + *bucket + "?" + query.Encode())
		if err != nil {
			return err
		}
		err = xml.NewDecoder(body).Decode(&page)
		if err := errors.Join(err, body.Close()); err != nil {
			return err
		}
		for _, object := range page.Contents {
			keys <- object.Key
		}
		if !page.IsTruncated {
			return nil
		}
		after = page.NextContinuationToken
	}
}

// indexObject sends the documents of one object.
func indexObject(key string) error {
	object, err := get(*s3Address + "/" + *bucket + "/" + key)
	if err != nil {
		return err
	}
	defer object.Close()
	unpacked, err := gzip.NewReader(object)
	if err != nil {
		return err
	}
	body := buffers.Get().(*bytes.Buffer)
	body.Reset()
	lines, count := bufio.NewReaderSize(unpacked, 1<<20), 0
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		// {"backup_shard":"…","backup_sequence":"…","backup_arrived":"…", and the rest of the document
		const last, size = `"backup_arrived":"`, len(`2006-01-02T15:04:05.000Z`)
		document := line[bytes.Index(line, []byte(last))+len(last)+size+1:]
		document[0] = '{' // in place of the comma
		add(body, document[:len(document)-1])
		if count++; count == *limit {
			if body, err = send(body, count); err != nil {
				return err
			}
			count = 0
		}
	}
	_, err = send(body, count)
	return err
}

func get(address string) (io.ReadCloser, error) {
	response, err := client.Get(address)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(errors.New(address+" answered "+response.Status), response.Body.Close())
	}
	return response.Body, nil
}
