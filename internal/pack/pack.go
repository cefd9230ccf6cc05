// Package pack puts many stream records into one compressed blob: the input of
// an IngestBatch workflow, and a message in the fallback queue.
//
// A pack is one format byte and a zstd frame; inside, each record stands
// behind its length as a uvarint.
package pack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const formatZstd = 1

// MaxUnpackedSize bounds in bytes what a pack may hold, so that a damaged or
// hostile one cannot exhaust memory.
const MaxUnpackedSize = 64 << 20

// Both are safe for concurrent use; the concurrency bounds their memory.
var (
	encoder = must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(4), zstd.WithLowerEncoderMem(true)))
	decoder = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(4), zstd.WithDecoderMaxMemory(MaxUnpackedSize), zstd.WithDecoderLowmem(true)))
)

func must[T any](v T, err error) T {
	if err != nil { // options are constants: a wrong one is a mistake in this file
		panic(err)
	}
	return v
}

// Size is how many bytes a pack of records may have at the most before it is
// compressed.
func Size(records [][]byte) (size int) {
	for _, r := range records {
		size += len(r) + binary.MaxVarintLen32
	}
	return size
}

// Pack compresses records into one blob. Unpack takes no more than a Size of
// MaxUnpackedSize.
func Pack(records [][]byte) []byte {
	plain := make([]byte, 0, Size(records))
	for _, r := range records {
		plain = binary.AppendUvarint(plain, uint64(len(r)))
		plain = append(plain, r...)
	}
	return encoder.EncodeAll(plain, []byte{formatZstd})
}

// ErrDamaged says that a blob is not a whole pack.
var ErrDamaged = errors.New("damaged pack")

// Unpack returns the records of a pack, in order. They share one buffer. The
// error wraps ErrDamaged.
func Unpack(blob []byte) ([][]byte, error) {
	if len(blob) == 0 || blob[0] != formatZstd {
		return nil, fmt.Errorf("%w: unknown format", ErrDamaged)
	}
	plain, err := decoder.DecodeAll(blob[1:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: decompress: %w", ErrDamaged, err)
	}
	var records [][]byte
	for len(plain) > 0 {
		size, n := binary.Uvarint(plain)
		if n <= 0 || size > uint64(len(plain)-n) {
			return nil, fmt.Errorf("%w: record %d is cut off", ErrDamaged, len(records))
		}
		end := n + int(size)
		records = append(records, plain[n:end:end])
		plain = plain[end:]
	}
	return records, nil
}
