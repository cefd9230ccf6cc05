package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"millrace/internal/requestid"
	"millrace/internal/telemetry"
)

const (
	// maxIDSize is the longest id in characters: what the index can search for.
	maxIDSize = 1024
	// maxTypeSize is the longest type in characters.
	maxTypeSize = 256
)

// Rejection says why the record at a position of a post was not taken.
// Positions begin at 0.
type Rejection struct {
	Position int    `json:"position"`
	Last     int    `json:"last,omitempty"` // of all those from Position on that share the reason; 0: it is one
	Reason   string `json:"reason"`
}

// String says it in a sentence.
func (r Rejection) String() string {
	if r.Last > 0 {
		return fmt.Sprintf("records %d to %d %s", r.Position, r.Last, r.Reason)
	}
	return "record " + strconv.Itoa(r.Position) + " " + r.Reason
}

// batch is one post on its way to the stream: its records are judged one by
// one, each either taken or rejected.
type batch struct {
	limits         Limits
	id             *requestid.ID // of the request
	tenant, region string
	received       time.Time // when the whole request was there
	request        []byte    // decompressed
	dirty          bool      // request has bytes that are not UTF-8
	lines          bool      // each record has a line of its own

	position int // of the next record
	records  [][]byte
	rejected []Rejection
	warnings []string // about what was taken
	leftOut  int      // records beyond a limit, behind the last position
	times    [timeKinds]int

	held *share // takes room for what is made; nil: none is needed
	made int    // bytes
	paid int    // of made, in room
	full error  // why no more can be made

	trace   string // of the request, for its first record; see telemetry.Record.Trace
	arena   []byte // holds the records; not reused, since an Ingester may keep them
	draft   *draft // of the record that is being read
	hash    string // of request, once it was needed
	once    once
	places  []placed
	digests map[telemetry.DocID]telemetry.Digest // of records that came with an id
}

// newBatch begins with a request whose body was read by then.
func newBatch(limits Limits, tenant, region string, received time.Time, request []byte, memory *draft) *batch {
	return &batch{
		limits: limits, id: &requestid.ID{}, tenant: tenant, region: region, request: request, draft: memory,
		received: received.Truncate(time.Millisecond), dirty: !utf8.Valid(request),
	}
}

// beyond reports whether the next record is beyond the limit of a request.
func (b *batch) beyond() bool { return b.position >= b.limits.Records }

// reject answers for the record at the next position.
func (b *batch) reject(reason string) {
	if b.beyond() {
		b.leaveOut(1)
		return
	}
	b.rejected = append(b.rejected, Rejection{Position: b.position, Reason: reason})
	b.position++
}

// leaveOut answers for records that are not looked at. There may be millions of
// them, so they are only counted.
func (b *batch) leaveOut(records int) { b.leftOut += records }

// rejections answers for all records that were not taken, those that were left
// out in one: it names them, however many they are.
func (b *batch) rejections() []Rejection {
	all := append([]Rejection{}, b.rejected...)
	if b.leftOut == 0 {
		return all
	}
	rest := Rejection{Position: b.position, Reason: "left out, since " + b.whyLeftOut()}
	if b.leftOut > 1 {
		rest.Last = b.position + b.leftOut - 1
	}
	return append(all, rest)
}

// timeKind is what a record's own time was worth.
type timeKind int

const (
	timeUsable timeKind = iota
	timeMissing
	timeUnreadable
	timeOutOfBounds
	timeAhead // usable, but further ahead of its arrival than an index is made for
	timeKinds
)

// String names the kind in metrics.
func (k timeKind) String() string {
	return [...]string{"usable", "missing", "unreadable", "out_of_bounds", "ahead"}[k]
}

// add makes the stream record of the next position. id may be empty: then it
// is derived. at is the record's own time where kind is timeUsable. body is an
// object on one line without the head's keys. original is the time as it came, of
// a record that is ahead: that depends on its arrival, so the digest has no part
// of it.
func (b *batch) add(id, recordType string, at time.Time, kind timeKind, body, original []byte) {
	given := id != ""
	if !given {
		id = b.derivedID()
	}
	if kind != timeUsable && kind != timeAhead {
		at = time.Time{}
	}
	place := b.place(recordType, at)
	head := telemetry.Head{
		Index: place.Index, Own: place.Own, Earlier: place.Earlier, Digest: telemetry.DigestOf(recordType, at, body),
		ReceivedAt: b.received, Tenant: b.tenant, Region: b.region, ID: id, Type: recordType, Timestamp: b.received,
	}
	if kind == timeUsable {
		head.Timestamp = at
	}
	if len(b.records) == 0 {
		head.Trace = b.trace
	}
	if original != nil {
		body = append(appendMember(body[:len(body)-1], originalTimestamp, original, true), '}')
	}
	// What the head adds: its keys, and strings of which each byte may need
	// an escape of six.
	room := len(body) + 512 + 6*(len(id)+len(recordType)+len(b.tenant)+len(b.region))
	if cap(b.arena)-len(b.arena) < room {
		// Records that were made stay where they are.
		const most = 1 << 20
		b.arena = make([]byte, 0, max(room, min(2*len(b.request), most)))
	}
	begin := len(b.arena)
	arena, most := telemetry.AppendRecord(b.arena, head, body), min(telemetry.MaxRecordSize, b.limits.RecordBytes)
	if len(arena)-begin > most && head.Trace != "" { // that it is traced must not refuse it
		head.Trace = ""
		arena = telemetry.AppendRecord(b.arena, head, body)
	}
	if size := len(arena) - begin; size > most {
		b.reject(fmt.Sprintf("is %d bytes long with what the collector adds, more than %d", size, most))
		return
	}
	if given && b.contradicts(telemetry.DocIDOf(arena[begin:]), head.Digest) {
		b.reject("has the id of an earlier record of this request, and says something else")
		return
	}
	b.arena = arena
	b.records = append(b.records, arena[begin:len(arena):len(arena)])
	b.times[kind]++
	b.position++
}

// once is how records with neither id nor time are known, on our own protocol.
type once struct {
	applies bool
	key     string // that the request came with: Idempotency-Key
	prefix  string // of their ids, once it was needed
}

// onceID is no other record's: nothing says that two with neither id nor time
// are the same. Only a request that comes again with its Idempotency-Key is.
func (b *batch) onceID() string {
	if b.once.prefix == "" && b.once.key == "" {
		b.once.prefix = uuid.NewString()
	} else if b.once.prefix == "" {
		hash := sha256.New()
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b.once.key))))
		hash.Write([]byte(b.once.key))
		hash.Write(b.request)
		b.once.prefix = base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:derivedSize])
	}
	return b.once.prefix + "-" + strconv.Itoa(b.position)
}

// derivedSize is how many bytes of a hash are in an id: 20 characters.
const derivedSize = 15

// derivedID is the same when an agent posts the same request again, and no
// other record's.
func (b *batch) derivedID() string {
	if b.hash == "" {
		sum := sha256.Sum256(b.request)
		b.hash = base64.RawURLEncoding.EncodeToString(sum[:derivedSize])
	}
	return b.hash + "-" + strconv.Itoa(b.position)
}

// contradicts reports whether the request has another record of that identity
// which says something else: the first one counts, and the agent is told while
// it can be.
func (b *batch) contradicts(id telemetry.DocID, digest telemetry.Digest) bool {
	if b.digests == nil {
		b.digests = make(map[telemetry.DocID]telemetry.Digest)
	}
	first, there := b.digests[id]
	if !there {
		b.digests[id] = digest
	}
	return there && first != digest
}

// placed is where records of a type and a day go. ahead: their time is ahead of
// their arrival.
type placed struct {
	recordType string
	day        int64
	ahead      bool
	telemetry.Placement
}

// place places a record by its own time, zero without a usable one. The records
// of a post share few places.
func (b *batch) place(recordType string, at time.Time) telemetry.Placement {
	if b.tenant == telemetry.CanaryTenant {
		name := telemetry.CanaryIndex(b.received)
		return telemetry.Placement{Own: name, Index: name}
	}
	day, ahead := int64(-1), false
	if !at.IsZero() {
		day, ahead = at.Unix()/(24*60*60), at.Sub(b.received) > telemetry.ClockSkew
	}
	for _, known := range b.places {
		if known.day == day && known.ahead == ahead && known.recordType == recordType {
			return known.Placement
		}
	}
	place := b.limits.window().Place(recordType, at, b.received)
	const most = 16
	if len(b.places) < most {
		b.places = append(b.places, placed{recordType, day, ahead, place})
	}
	return place
}

// usable reports what a time that is within its bounds is worth when it arrives
// now.
func (b *batch) usable(at time.Time) timeKind {
	if b.limits.window().Ahead(at, b.received) {
		return timeAhead
	}
	return timeUsable
}
