package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxDraft is the most memory in bytes that is kept of a request.
const maxDraft = 2 << 20

// drafts is memory to decode in, used again by the next request.
var drafts = sync.Pool{New: func() any { return new(draft) }}

func (d *draft) release() {
	if cap(d.body)+cap(d.writer.dst)+cap(d.nested)+cap(d.encoded) <= maxDraft {
		drafts.Put(d)
	}
}

// readBody reads the body of a request and decompresses it, as far as the
// limit: of a compression bomb no more is unpacked. It takes room for what has
// arrived, however much was announced, and the tenant pays for it.
func readBody(w http.ResponseWriter, r *http.Request, limit int, held *share, paying *bill, decoders slots) ([]byte, *refusal) {
	tooLarge := &refusal{status: http.StatusRequestEntityTooLarge, reason: fmt.Sprintf("the body has more than %d bytes", limit)}
	if r.ContentLength > int64(limit) {
		return nil, tooLarge
	}
	encoding, supported := contentEncoding(r.Header)
	if !supported {
		return nil, &refusal{
			status: http.StatusUnsupportedMediaType, reason: "Content-Encoding is not one of gzip, zstd and identity",
			accept: [2]string{"Accept-Encoding", "gzip, zstd"},
		}
	}
	var source io.Reader = http.MaxBytesReader(w, r.Body, int64(limit))
	var body []byte
	var err error
	if encoding == "" {
		body, err = collect(billed{source, paying}, r.ContentLength, limit, held)
	} else {
		// It is unpacked once it is whole: a client that stops in the middle
		// would hold a decompressor, of up to 8 MiB with zstd.
		packed := &share{room: held.room, tenant: held.tenant}
		defer packed.giveBack()
		var arrived []byte
		if arrived, err = collect(source, r.ContentLength, limit, packed); err == nil && len(arrived) > 0 {
			decoders.do(func() { body, err = unpack(encoding, arrived, paying, limit, held) })
		}
	}
	if err != nil {
		return nil, unreadable(err, tooLarge)
	}
	return body, nil
}

// errTooLong says that a body has more bytes than the limit.
var errTooLong = errors.New("the body is too long")

// collect reads all, into memory that grows as bytes arrive. announced is how
// many may come, negative where that is not known.
func collect(source io.Reader, announced int64, limit int, held *share) ([]byte, error) {
	var body []byte
	for {
		if len(body) == cap(body) {
			larger := sizeAfter(cap(body), announced, limit)
			if !held.reserve(int64(larger - cap(body))) {
				return nil, errNoRoom
			}
			body = append(make([]byte, 0, larger), body...)
		}
		n, err := source.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limit:
			return nil, errTooLong
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, err //nolint:wrapcheck // unreadable says what it means
		}
	}
}

// sizeAfter is how large the memory of a body gets when it is full: it doubles,
// up to what may come and one byte, in which the end is found.
func sizeAfter(size int, announced int64, limit int) int {
	const least, small = 4 << 10, 64 << 10
	larger := max(least, 2*size)
	if announced >= 0 {
		larger = min(max(small, 2*size), max(int(announced), size)+1)
	}
	return min(larger, limit+1)
}

// unpack decompresses a body.
func unpack(encoding string, packed []byte, paying *bill, limit int, held *share) ([]byte, error) {
	source := bytes.NewReader(packed)
	if encoding == "gzip" {
		reader := gzips.Get().(*gzip.Reader)
		defer gzips.Put(reader)
		if err := reader.Reset(source); err != nil {
			return nil, err //nolint:wrapcheck // unreadable says what it means
		}
		return collect(billed{reader, paying}, -1, limit, held)
	}
	reader := zstds.Get().(*zstd.Decoder)
	defer func() {
		_ = reader.Reset(nil) // lets go of the body; never fails
		zstds.Put(reader)
	}()
	if err := reader.Reset(source); err != nil {
		return nil, err //nolint:wrapcheck // unreadable says what it means
	}
	return collect(billed{reader, paying}, -1, limit, held)
}

var (
	gzips = sync.Pool{New: func() any { return new(gzip.Reader) }}
	// With a concurrency of one, a decoder has no goroutine that would
	// outlive it. 8 MiB is the window that every decoder should support
	// (RFC 8878, 3.1.1.1.2).
	zstds = sync.Pool{New: func() any {
		reader, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
		if err != nil { // options are constants: a wrong one is a mistake in this file
			panic(fmt.Sprintf("make a zstd decoder: %v", err))
		}
		return reader
	}}
)

// unreadable says why a body could not be read to its end.
func unreadable(err error, tooLarge *refusal) *refusal {
	var raw *http.MaxBytesError
	switch {
	case errors.As(err, &raw), errors.Is(err, errTooLong), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return tooLarge
	case errors.Is(err, errNoRoom):
		return full()
	case errors.Is(err, os.ErrDeadlineExceeded):
		// Not 408: OTLP's exporters take that for final and drop the batch
		// (OTLP 1.x, 'Retryable Response Codes'), and to the others it is the same.
		return &refusal{status: http.StatusServiceUnavailable, reason: "the body did not arrive in time", retry: retryAfter}
	}
	return &refusal{status: http.StatusBadRequest, reason: "the body cannot be read: " + err.Error()}
}
