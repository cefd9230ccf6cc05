package container

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Form is how a record of the stream holds documents.
type Form uint8

// The forms.
const (
	Single Form = iota // the document itself, or what no writer of ours has made
	KPL
	Pack
)

// String names it as the stream's tag does.
func (f Form) String() string { return [...]string{"single", "kpl", "pack"}[f] }

// ParseForm returns the form of a name.
func ParseForm(name string) (Form, error) {
	for f := Single; f <= Pack; f++ {
		if f.String() == name {
			return f, nil
		}
	}
	return Single, fmt.Errorf("%q is no form of records: %s, %s or %s", name, Single, KPL, Pack)
}

const (
	// MaxUnpacked is how many bytes the documents of a pack may have, with a line break each: two full records.
	MaxUnpacked = 2 << 20
	// MaxDocuments is how many documents a container may hold.
	MaxDocuments = 10_000
)

// ErrDamaged says that a record begins as a container does, and is none, or one that is too large.
var ErrDamaged = errors.New("damaged container")

var (
	magicKPL  = []byte{0xF3, 0x89, 0x9A, 0xC2}
	magicZstd = []byte{0x28, 0xB5, 0x2F, 0xFD} // RFC 8878, section 3.1.1
)

// FormOf returns the form of a record of the stream, by its first bytes.
func FormOf(data []byte) Form {
	switch {
	case bytes.HasPrefix(data, magicKPL):
		return KPL
	case bytes.HasPrefix(data, magicZstd):
		return Pack
	}
	return Single
}

// Size returns how many bytes of memory Open will take for a record, which is known before it is unpacked; 0 where the
// documents stay in the record's own. The error wraps ErrDamaged.
func Size(data []byte) (int, error) {
	if FormOf(data) != Pack {
		return 0, nil
	}
	return unpackedSize(data)
}

// Open returns the documents of a record of the stream, in order: of a single the record itself. They share its memory, or
// as many bytes as Size says. Nothing of a container is returned before all of it was checked. The error wraps
// ErrDamaged.
func Open(data []byte) ([][]byte, error) {
	documents, _, err := OpenIn(nil, nil, data)
	return documents, err
}

// Slack is how many bytes more than Size says OpenIn wants for the last pack in its memory: the decoder copies in steps, and
// is slower where it must not write behind the end.
const Slack = 16

// OpenIn is Open for many records: it appends their documents, and puts those of a pack at the beginning of memory, of which
// it returns the rest. Where there is too little, it takes its own.
func OpenIn(memory []byte, documents [][]byte, data []byte) (_ [][]byte, rest []byte, err error) {
	switch FormOf(data) {
	case KPL:
		documents, err = openKPL(documents, data)
		return documents, memory, err
	case Pack:
		return openPack(memory, documents, data)
	}
	return append(documents, data), memory, nil
}

// Both are safe for concurrent use; the concurrency bounds their memory. A frame in a single segment always says its size.
var (
	encoder = must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(4), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true), zstd.WithSingleSegment(true), zstd.WithZeroFrames(true)))
	decoder = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(4), zstd.WithDecoderMaxMemory(MaxUnpacked), zstd.WithDecoderMaxWindow(MaxUnpacked), zstd.WithDecoderLowmem(true)))
)

func must[T any](v T, err error) T {
	if err != nil { // options are constants: a wrong one is a mistake in this file
		panic(err)
	}
	return v
}

// AppendPack appends a pack of some documents, each without a line break, to dst. Open takes no more than MaxDocuments, of
// MaxUnpacked bytes with a line break each.
func AppendPack(dst []byte, documents [][]byte) []byte {
	memory := plains.Get().(*[]byte)
	defer plains.Put(memory)
	plain := slices.Grow((*memory)[:0], size(documents))
	for _, d := range documents {
		plain = append(append(plain, d...), '\n')
	}
	*memory = plain
	return encoder.EncodeAll(plain, dst)
}

// plains are memory of packs before they are compressed. Of MaxUnpacked bytes at most, it goes with the garbage.
var plains = sync.Pool{New: func() any { return new([]byte) }}

func unpackedSize(data []byte) (int, error) {
	var header zstd.Header
	switch err := header.Decode(data); {
	case err != nil:
		return 0, fmt.Errorf("%w: read the frame's header: %w", ErrDamaged, err)
	case header.Skippable || header.DictionaryID != 0 || !header.HasFCS || !header.HasCheckSum && header.FrameContentSize > 0:
		return 0, fmt.Errorf("%w: the frame does not say its size, or has no checksum", ErrDamaged)
	case header.FrameContentSize > MaxUnpacked || header.WindowSize > MaxUnpacked:
		return 0, fmt.Errorf("%w: %d bytes unpacked, the most is %d", ErrDamaged, max(header.FrameContentSize, header.WindowSize), MaxUnpacked)
	}
	return int(header.FrameContentSize), nil //nolint:gosec // at most MaxUnpacked
}

func openPack(memory []byte, documents [][]byte, data []byte) (_ [][]byte, rest []byte, err error) {
	size, err := unpackedSize(data)
	if err != nil {
		return nil, memory, err
	}
	own, rest := memory, memory
	if len(own) < size {
		own = make([]byte, size+Slack)
	} else {
		rest = memory[size:]
	}
	plain, err := decoder.DecodeAll(data, own[:0:min(len(own), size+Slack)])
	if err != nil {
		return nil, memory, fmt.Errorf("%w: decompress: %w", ErrDamaged, err)
	}
	if len(plain) != size {
		return nil, memory, fmt.Errorf("%w: %d bytes in place of %d", ErrDamaged, len(plain), size)
	}
	lines := bytes.Count(plain, []byte{'\n'})
	if size > 0 && plain[size-1] != '\n' {
		return nil, memory, fmt.Errorf("%w: the last document is cut off", ErrDamaged)
	}
	if lines > MaxDocuments {
		return nil, memory, tooMany(lines)
	}
	documents = slices.Grow(documents, lines)
	for len(plain) > 0 {
		end := bytes.IndexByte(plain, '\n')
		documents, plain = append(documents, plain[:end:end]), plain[end+1:]
	}
	return documents, rest, nil
}

func tooMany(documents int) error {
	return fmt.Errorf("%w: more than %d documents: %d", ErrDamaged, MaxDocuments, documents)
}
