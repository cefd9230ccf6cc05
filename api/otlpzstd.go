package api

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/encoding"
)

// zstdName is how exporters name the compression (grpc-encoding).
const zstdName = "zstd"

func init() { encoding.RegisterCompressor(zstdMessages{}) }

// zstdMessages lets agents compress what they send over gRPC, as over HTTP.
// gRPC has only gzip of its own.
type zstdMessages struct{}

// Name implements encoding.Compressor.
func (zstdMessages) Name() string { return zstdName }

// Compress implements encoding.Compressor, for answers and for clients in this
// process.
func (zstdMessages) Compress(w io.Writer) (io.WriteCloser, error) {
	writer, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("compress a message: %w", err)
	}
	return writer, nil
}

// Decompress implements encoding.Compressor. gRPC reads as much as a message
// may have, so that of a compression bomb no more is unpacked.
func (zstdMessages) Decompress(r io.Reader) (io.Reader, error) {
	reader := zstds.Get().(*zstd.Decoder)
	if err := reader.Reset(r); err != nil {
		return nil, fmt.Errorf("decompress a message: %w", err)
	}
	return &zstdMessage{reader}, nil
}

// zstdMessage gives its decoder back at the end. One that is not read to its end
// leaves it to the garbage collector: with a concurrency of one it has no
// goroutine.
type zstdMessage struct{ decoder *zstd.Decoder }

// Read implements io.Reader.
func (m *zstdMessage) Read(p []byte) (int, error) {
	if m.decoder == nil {
		return 0, io.EOF
	}
	n, err := m.decoder.Read(p)
	if errors.Is(err, io.EOF) {
		_ = m.decoder.Reset(nil) // lets go of the message; never fails
		zstds.Put(m.decoder)
		m.decoder = nil
	}
	return n, err
}
