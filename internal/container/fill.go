package container

import "crypto/md5" //nolint:gosec // for its size alone

const (
	// PutUnit is what Kinesis counts of a record that is put, in bytes: PUT payload units, begun ones as whole (Kinesis Data
	// Streams pricing).
	PutUnit = 25_000
	// Target is how large a pack gets while there is more to put, in bytes: larger ones save little, and what is damaged or
	// rejected is larger.
	Target = 4 * PutUnit
)

// Filler makes packs of many documents. Its zero value knows nothing of how well they compress; each pack tells.
type Filler struct {
	ratio float64 // of the last pack: compressed to plain
}

// guess is a ratio of documents that repeat each other's names.
const guess = 0.2

// Fill makes a pack of the first documents, n of them, of at most that many bytes; one document of any size goes alone.
func (f *Filler) Fill(documents [][]byte, most int) (pack []byte, n int) {
	if f.ratio == 0 {
		f.ratio = guess
	}
	plain := 0
	for n < len(documents) && n < MaxDocuments {
		size := plain + len(documents[n]) + 1
		if n > 0 && (size > MaxUnpacked || float64(size)*f.ratio > Target) {
			break
		}
		plain, n = size, n+1
	}
	for {
		pack = AppendPack(nil, documents[:n])
		f.ratio = float64(len(pack)) / float64(size(documents[:n]))
		if len(pack) <= most || n == 1 {
			return pack, n
		}
		n /= 2
	}
}

// FillKPL makes an aggregated record of the first documents, n of them; see Filler.Fill and AppendKPL.
func FillKPL(documents [][]byte, keys []string, hashKey string, most int) (record []byte, n int) {
	bytes := len(magicKPL) + md5.Size + fieldOverhead + len(hashKey)
	for n < len(documents) && n < MaxDocuments {
		more := len(documents[n]) + len(keys[n]) + 3*fieldOverhead
		if n > 0 && bytes+more > min(most, Target) {
			break
		}
		bytes, n = bytes+more, n+1
	}
	return AppendKPL(nil, documents[:n], keys[:n], hashKey), n
}

// fieldOverhead is the most that a field's tag, and its length or number take, of those that are in a record.
const fieldOverhead = 1 + 4

// size is how many bytes a pack of some documents has when it is unpacked.
func size(documents [][]byte) (bytes int) {
	for _, d := range documents {
		bytes += len(d) + 1
	}
	return bytes
}
