package lookup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Row says that a place may have what a hash stands for.
type Row struct {
	Hash  uint64
	Place string
}

// The format of a segment:
//
//	rows    12 bytes each: hash, number of its place; in blocks of blockRows
//	places  the texts, sorted; in blocks of blockPlaces, each compressed
//	index   of each block of rows its first hash and its checksum, of each block of places its end
//	footer  number of rows, number of places, bytes of places, checksum of the index, magic
//
// Numbers are big-endian.
const (
	rowBytes    = 8 + 4
	blockRows   = 4096 // 48 KiB: one range that S3 reads as fast as a byte
	blockPlaces = 256
	footerBytes = 4*4 + len(magic)
	magic       = "mrfind1\n"
)

// errDamaged says that a segment is not what was written.
var errDamaged = errors.New("the segment is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mostPlaceBytes bounds what a block of places is decompressed to: a key of S3 has
// 1,024 bytes at the most.
const mostPlaceBytes = blockPlaces * (1024 + binary.MaxVarintLen32)

// Both are safe for concurrent use.
var (
	packer   = newPacker()
	unpacker = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(mostPlaceBytes), zstd.WithDecoderLowmem(true)))
)

func newPacker() *zstd.Encoder {
	packer := must(zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true)))
	packer.EncodeAll(nil, nil) // makes its channels, which must not be of a test's bubble
	return packer
}

func must[T any](v T, err error) T {
	if err != nil { // options are constants: a wrong one is a mistake in this file
		panic(err)
	}
	return v
}

// encode makes a segment of rows, which it sorts. It has each row once.
func encode(rows []Row) []byte {
	slices.SortFunc(rows, func(a, b Row) int {
		if a.Hash != b.Hash {
			if a.Hash < b.Hash {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Place, b.Place)
	})
	rows = slices.Compact(rows)
	places := make([]string, 0, len(rows))
	for _, r := range rows {
		places = append(places, r.Place)
	}
	slices.Sort(places)
	places = slices.Compact(places)
	number := make(map[string]uint32, len(places))
	for n, place := range places {
		number[place] = uint32(n) //nolint:gosec // a segment is far smaller
	}
	var text, index []byte
	for _, r := range rows {
		text = binary.BigEndian.AppendUint64(text, r.Hash)
		text = binary.BigEndian.AppendUint32(text, number[r.Place])
	}
	for block := range slices.Chunk(text, blockRows*rowBytes) {
		index = append(index, block[:8]...)
		index = binary.BigEndian.AppendUint32(index, crc32.Checksum(block, castagnoli))
	}
	placesAt := len(text)
	for block := range slices.Chunk(places, blockPlaces) {
		var plain []byte
		for _, place := range block {
			plain = binary.AppendUvarint(plain, uint64(len(place)))
			plain = append(plain, place...)
		}
		text = packer.EncodeAll(plain, text)
		index = binary.BigEndian.AppendUint32(index, uint32(len(text)-placesAt)) //nolint:gosec // a segment is far smaller
	}
	placesSize := len(text) - placesAt
	text = append(text, index...)
	for _, n := range []int{len(rows), len(places), placesSize} {
		text = binary.BigEndian.AppendUint32(text, uint32(n)) //nolint:gosec // a segment is far smaller
	}
	text = binary.BigEndian.AppendUint32(text, crc32.Checksum(index, castagnoli))
	return append(text, magic...)
}

// ranger reads a range of a segment.
type ranger func(ctx context.Context, from, length int64) ([]byte, error)

// inMemory reads ranges of what was read whole.
func inMemory(body []byte) ranger {
	return func(_ context.Context, from, length int64) ([]byte, error) {
		if from < 0 || length < 0 || from > int64(len(body))-length {
			return nil, errDamaged
		}
		return body[from : from+length], nil
	}
}

// segment is one that is open for reading.
type segment struct {
	read   ranger
	rows   int
	places int
	firsts []uint64 // hashes: of the first row of each block
	sums   []uint32 // of each block of rows
	ends   []int64  // of each block of places, behind the rows
}

// tailBytes is what is read of a segment first: its index is rarely larger.
const tailBytes = 64 << 10

// openSegment reads the index of a segment of that size.
func openSegment(ctx context.Context, size int64, read ranger) (*segment, error) {
	tailAt := max(0, size-tailBytes)
	tail, err := read(ctx, tailAt, size-tailAt)
	if err != nil {
		return nil, err
	}
	at := len(tail) - footerBytes
	if at < 0 || int64(len(tail)) != size-tailAt || string(tail[len(tail)-len(magic):]) != magic {
		return nil, errDamaged
	}
	footer := tail[at:]
	number := func(n int) int64 { return int64(binary.BigEndian.Uint32(footer[4*n:])) }
	rows, places, placesSize := number(0), number(1), number(2)
	rowBlocks, placeBlocks := blocks(rows, blockRows), blocks(places, blockPlaces)
	length := 12*rowBlocks + 4*placeBlocks
	if rows*rowBytes+placesSize+length+int64(footerBytes) != size {
		return nil, errDamaged
	}
	var index []byte
	if from := int64(at) - length; from >= 0 {
		index = tail[from:at]
	} else if index, err = read(ctx, size-int64(footerBytes)-length, length); err != nil {
		return nil, err
	}
	if int64(len(index)) != length || crc32.Checksum(index, castagnoli) != uint32(number(3)) { //nolint:gosec // it was one
		return nil, errDamaged
	}
	s := &segment{rows: int(rows), places: int(places)}
	for n := range rowBlocks {
		s.firsts = append(s.firsts, binary.BigEndian.Uint64(index[12*n:]))
		s.sums = append(s.sums, binary.BigEndian.Uint32(index[12*n+8:]))
	}
	for n := range placeBlocks {
		s.ends = append(s.ends, int64(binary.BigEndian.Uint32(index[12*rowBlocks+4*n:])))
	}
	s.read = func(ctx context.Context, from, length int64) ([]byte, error) {
		if from >= tailAt && from+length <= size { // it is here already
			return tail[from-tailAt : from-tailAt+length], nil
		}
		return read(ctx, from, length)
	}
	return s, nil
}

func blocks(count, each int64) int64 { return (count + each - 1) / each }

// find returns at most so many places of a hash.
func (s *segment) find(ctx context.Context, hash uint64, most int) ([]string, error) {
	// Its rows begin in the block before the first one that begins with it, or behind.
	next := sort.Search(len(s.firsts), func(n int) bool { return s.firsts[n] >= hash })
	var numbers []uint32
	for block := max(0, next-1); block < len(s.firsts) && s.firsts[block] <= hash && len(numbers) < most; block++ {
		rows, err := s.block(ctx, block)
		if err != nil {
			return nil, err
		}
		count := len(rows) / rowBytes
		at := sort.Search(count, func(n int) bool { return binary.BigEndian.Uint64(rows[n*rowBytes:]) >= hash })
		for ; at < count && binary.BigEndian.Uint64(rows[at*rowBytes:]) == hash && len(numbers) < most; at++ {
			numbers = append(numbers, binary.BigEndian.Uint32(rows[at*rowBytes+8:]))
		}
	}
	found := make([]string, 0, len(numbers))
	var texts []string
	last := -1
	for _, n := range numbers { // in order, so those of a block follow each other
		if block := int(n / blockPlaces); block != last {
			var err error
			if texts, err = s.placesOf(ctx, block); err != nil {
				return nil, err
			}
			last = block
		}
		if at := int(n % blockPlaces); at < len(texts) {
			found = append(found, texts[at])
		} else {
			return nil, errDamaged
		}
	}
	return found, nil
}

// block reads a block of rows.
func (s *segment) block(ctx context.Context, n int) ([]byte, error) {
	count := min(blockRows, s.rows-n*blockRows)
	rows, err := s.read(ctx, int64(n)*blockRows*rowBytes, int64(count)*rowBytes)
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(rows, castagnoli) != s.sums[n] {
		return nil, errDamaged
	}
	return rows, nil
}

// placesOf reads a block of places.
func (s *segment) placesOf(ctx context.Context, n int) ([]string, error) {
	if n >= len(s.ends) {
		return nil, errDamaged
	}
	from := int64(0)
	if n > 0 {
		from = s.ends[n-1]
	}
	packed, err := s.read(ctx, int64(s.rows)*rowBytes+from, s.ends[n]-from)
	if err != nil {
		return nil, err
	}
	plain, err := unpacker.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	var texts []string
	for len(plain) > 0 {
		length, bytesOfIt := binary.Uvarint(plain)
		if bytesOfIt <= 0 || length > math.MaxInt32 || length > uint64(len(plain)-bytesOfIt) {
			return nil, errDamaged
		}
		end := bytesOfIt + int(length)
		texts = append(texts, string(bytes.Clone(plain[bytesOfIt:end])))
		plain = plain[end:]
	}
	return texts, nil
}

// all returns all rows of a segment.
func (s *segment) all(ctx context.Context) ([]Row, error) {
	places := make([]string, 0, s.places)
	for n := range s.ends {
		texts, err := s.placesOf(ctx, n)
		if err != nil {
			return nil, err
		}
		places = append(places, texts...)
	}
	rows := make([]Row, 0, s.rows)
	for n := range s.firsts {
		block, err := s.block(ctx, n)
		if err != nil {
			return nil, err
		}
		for ; len(block) > 0; block = block[rowBytes:] {
			place := binary.BigEndian.Uint32(block[8:])
			if int(place) >= len(places) {
				return nil, errDamaged
			}
			rows = append(rows, Row{Hash: binary.BigEndian.Uint64(block), Place: places[place]})
		}
	}
	return rows, nil
}
