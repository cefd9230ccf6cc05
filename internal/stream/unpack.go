package stream

import (
	"slices"
	"sync"

	"millrace/internal/container"
	"millrace/internal/telemetry"
)

// IsContainer reports whether a record begins as a container of documents does. It may be damaged.
func (r Record) IsContainer() bool { return container.FormOf(r.Data) != container.Single }

// Documents returns the documents that a record of the stream holds, with their positions: the record itself where it is no
// container, or a damaged one, which is then no document of ours. They share its memory, or take as much as container.Size
// says.
func (r Record) Documents() []Record {
	var u unpacked
	u.unpack([]Record{r})
	return u.records
}

// Unpack returns the documents of some records, see Documents. Those of packs lie in memory that release gives back, for
// later ones, as Page.Release does.
func Unpack(records []Record) (documents []Record, release func()) {
	u := unpackings.Get().(*unpacked)
	u.unpack(records)
	return u.records, u.release
}

var unpackings = sync.Pool{New: func() any { return new(unpacked) }}

// unpacked is the memory of documents, but for their positions, which are one string for each container.
type unpacked struct {
	records []Record
	data    []byte

	documents [][]byte // scratch: of one container, with their positions behind one another and where each ends
	positions []byte
	ends      []int
}

func (u *unpacked) release() {
	if cap(u.data) > MaxPageBytes {
		return
	}
	clear(u.records)
	clear(u.documents[:cap(u.documents)])
	u.records = u.records[:0]
	unpackings.Put(u)
}

func (u *unpacked) unpack(records []Record) {
	size := 0
	for _, r := range records {
		if of, err := container.Size(r.Data); err == nil && of > 0 {
			size += of
		}
	}
	if size > 0 {
		u.data = slices.Grow(u.data[:0], size+container.Slack)
	}
	free := u.data[:cap(u.data)]
	for _, r := range records {
		if !r.IsContainer() {
			u.records = append(u.records, r)
			continue
		}
		documents, rest, err := container.OpenIn(free, u.documents[:0], r.Data)
		if err != nil {
			u.records = append(u.records, r)
			continue
		}
		free, u.documents = rest, documents
		u.place(r)
	}
}

// place appends the documents of a record, with their positions.
func (u *unpacked) place(r Record) {
	u.positions, u.ends = u.positions[:0], u.ends[:0]
	for i := range u.documents {
		u.positions = telemetry.AppendPosition(u.positions, r.Sequence, i+1)
		u.ends = append(u.ends, len(u.positions))
	}
	u.records = slices.Grow(u.records, len(u.documents))
	positions, from := string(u.positions), 0
	for i, data := range u.documents {
		r.Sequence, r.Data, r.Continues = positions[from:u.ends[i]], data, i < len(u.documents)-1
		u.records, from = append(u.records, r), u.ends[i]
	}
}
