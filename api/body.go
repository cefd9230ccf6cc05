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

// scratch is the memory of one request, used again by the next.
type scratch struct {
	body  bytes.Buffer
	draft draft
}

// maxScratch is the most memory in bytes that is kept of a request.
const maxScratch = 2 << 20

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	if s.body.Cap()+cap(s.draft.body)+cap(s.draft.writer.dst)+cap(s.draft.nested)+cap(s.draft.encoded) <= maxScratch {
		scratches.Put(s)
	}
}

// readBody reads the body of a request and decompresses it, as far as the
// limit: of a compression bomb no more is unpacked. It takes room for it, and the tenant
// pays for what arrives.
func readBody(w http.ResponseWriter, r *http.Request, limit int, held *share, paying *bill, into *bytes.Buffer) ([]byte, *refusal) {
	into.Reset()
	tooLarge := &refusal{status: http.StatusRequestEntityTooLarge, reason: fmt.Sprintf("the body has more than %d bytes", limit)}
	if r.ContentLength > int64(limit) {
		return nil, tooLarge
	}
	var source io.Reader = http.MaxBytesReader(w, r.Body, int64(limit))
	encoding, supported := contentEncoding(r.Header)
	if !supported {
		return nil, &refusal{
			status: http.StatusUnsupportedMediaType, reason: "Content-Encoding is not one of gzip, zstd and identity",
			accept: [2]string{"Accept-Encoding", "gzip, zstd"},
		}
	}
	switch encoding {
	case "":
		if r.ContentLength < 0 {
			source = metered{source, held}
			break
		}
		if !held.take(r.ContentLength) {
			return nil, full()
		}
		// The whole body at once, and room for ReadFrom to find its end.
		into.Grow(int(r.ContentLength) + bytes.MinRead)
	case "gzip":
		reader := gzips.Get().(*gzip.Reader)
		defer gzips.Put(reader)
		switch err := reader.Reset(source); {
		case errors.Is(err, io.EOF): // not a byte came, which is an empty body
			return into.Bytes(), nil
		case err != nil:
			return nil, unreadable(err, tooLarge)
		}
		source = metered{reader, held}
	case "zstd":
		reader := zstds.Get().(*zstd.Decoder)
		defer func() {
			_ = reader.Reset(nil) // lets go of the body; never fails
			zstds.Put(reader)
		}()
		if err := reader.Reset(source); err != nil {
			return nil, unreadable(err, tooLarge)
		}
		source = metered{reader, held}
	}
	if _, err := into.ReadFrom(io.LimitReader(billed{source, paying}, int64(limit)+1)); err != nil {
		return nil, unreadable(err, tooLarge)
	}
	if into.Len() > limit {
		return nil, tooLarge
	}
	return into.Bytes(), nil
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
	case errors.As(err, &raw), errors.Is(err, zstd.ErrWindowSizeExceeded):
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
