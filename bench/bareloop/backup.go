package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
)

// With the address of an S3 it is what Millrace's backup is measured against:
// GetRecords, gzip, PutObject, a page read ahead while another is compressed.
// It writes the lines that Millrace writes, unless only the records are asked
// for, and as large objects, but never looks whether they are there. No call is
// signed, no checksum made. gzip is that of a library, as Millrace's is: with
// the standard library's this loop takes much longer.
var (
	s3Address   = flag.String("s3", "", "address of S3: records go there, and not into Elasticsearch")
	bucket      = flag.String("bucket", "", "name of the bucket")
	objectBytes = flag.Int("object-bytes", 5<<20, "bytes of records that make an object")
	plain       = flag.Bool("plain", false, "write the records alone, without shard, sequence number and arrival")
)

// object is what is to be written next.
type object struct {
	shard  string
	body   bytes.Buffer
	packer *gzip.Writer
	first  string // sequence number
	count  int
	size   int // bytes before compression
	line   []byte
}

// backUp copies one shard.
func backUp(shard string) error {
	pages, failed := make(chan *bytes.Buffer), make(chan error, 1)
	go func() { failed <- read(shard, pages) }()
	o := &object{shard: shard, packer: gzip.NewWriter(nil)}
	for page := range pages {
		if err := o.take(page.Bytes()); err != nil {
			return err
		}
		buffers.Put(page)
	}
	return errors.Join(o.put(), <-failed)
}

// take compresses the records of a page.
func (o *object) take(page []byte) error {
	const sequence, arrived, data = `"SequenceNumber":`, `"ApproximateArrivalTimestamp":`, `"Data":`
	for rest := page; ; {
		number := member(rest, sequence)
		if number == nil {
			return nil
		}
		rest = rest[bytes.Index(rest, []byte(arrived))+len(arrived):]
		seconds, err := strconv.ParseFloat(string(rest[:bytes.IndexByte(rest, ',')]), 64)
		if err != nil {
			return fmt.Errorf("read a time: %w", err)
		}
		at := time.UnixMilli(int64(seconds*1e3 + 0.5)).UTC()
		text := member(rest, data)
		rest = rest[bytes.Index(rest, []byte(data))+len(data)+len(text):]

		length := base64.StdEncoding.DecodedLen(len(text))
		if o.count > 0 && o.size+length > *objectBytes {
			if err := o.put(); err != nil {
				return err
			}
		}
		o.line = o.line[:0]
		if !*plain {
			o.line = append(append(o.line, `{"backup_shard":"`...), o.shard...)
			o.line = append(append(o.line, `","backup_sequence":"`...), number...)
			o.line = at.AppendFormat(append(o.line, `","backup_arrived":"`...), "2006-01-02T15:04:05.000Z")
			o.line = append(o.line, `",`...)
		}
		before := len(o.line)
		if o.line, err = base64.StdEncoding.AppendDecode(o.line, text); err != nil {
			return fmt.Errorf("decode a record: %w", err)
		}
		if !*plain { // its opening brace
			o.line = append(o.line[:before], o.line[before+1:]...)
		}
		o.line = append(o.line, '\n')
		if err := o.add(string(number), at); err != nil {
			return err
		}
	}
}

// add compresses the line.
func (o *object) add(sequence string, at time.Time) error {
	if o.count == 0 {
		o.first = at.Format("dt=2006-01-02/hour=15/") + o.shard + "-" + sequence
		o.body.Reset()
		o.packer.Reset(&o.body)
	}
	o.count++
	o.size += len(o.line)
	_, err := o.packer.Write(o.line)
	return err
}

// put writes what there is.
func (o *object) put() error {
	if o.count == 0 {
		return nil
	}
	if err := o.packer.Close(); err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPut, *s3Address+"/"+*bucket+"/backup/"+o.first+".json.gz", bytes.NewReader(o.body.Bytes()))
	if err != nil {
		return err
	}
	request.Header.Set("If-None-Match", "*")
	request.Header.Set("X-Amz-Meta-Count", strconv.Itoa(o.count))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New("PutObject answered " + response.Status)
	}
	moved.Add(int64(o.count))
	o.count, o.size = 0, 0
	return nil
}
