package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

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
		limits: limits, tenant: tenant, region: region, request: request, draft: memory,
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
	arena := telemetry.AppendRecord(b.arena, head, body)
	if size := len(arena) - begin; size > telemetry.MaxRecordSize || size > b.limits.RecordBytes {
		b.reject(fmt.Sprintf("is %d bytes long with what the collector adds, more than %d", size, min(telemetry.MaxRecordSize, b.limits.RecordBytes)))
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

// role is what a member of a record is for.
type role int

const (
	inBody    role = iota // passed on
	isID                  // the record's id
	isType                // its type
	isTime                // its time, which then stands in @timestamp alone
	isTime2               // its time, unless there is an isTime
	isOwnTime             // its time, passed on too
	isHead                // the pipeline's own: dropped
)

// roles maps each member of a protocol's records to its purpose.
type roles func(name []byte) role

// draft is a record that is being read.
type draft struct {
	objectBuilder // the record's body

	id, recordType string
	time           member // as it was given
	timeRole       role
	problem        string

	writer   writer // of records that were decoded
	nested   []byte // what a record is decoded from
	encoded  []byte // a request in JSON, as protobuf
	identity identity
}

// reset begins a record.
func (d *draft) reset(recordType string) {
	d.objectBuilder.reset(d.body, d.names)
	*d = draft{objectBuilder: d.objectBuilder, recordType: recordType, writer: d.writer, nested: d.nested, encoded: d.encoded, identity: d.identity}
}

// wrong keeps the first thing that is wrong.
func (d *draft) wrong(problem string) {
	if d.problem == "" {
		d.problem = problem
	}
}

// member is a member of an object, as it is written.
type member struct {
	name, plain []byte // plain is the name without escapes
	value       []byte
	spaced, odd bool
	invalid     bool // not UTF-8; known of common members alone
	depth       int
}

// readMember reads the next member; io.EOF behind the last.
func readMember(s *scanner, first bool) (member, error) {
	s.odd = false
	name, err := s.member(first)
	if err != nil {
		return member{}, err
	}
	m := member{name: name, plain: unquote(name)}
	if s.odd {
		m.name = appendEscaped(nil, string(m.plain))
	}
	m.value, err = s.value()
	m.spaced, m.odd, m.depth = s.spaced, s.odd, s.depth
	return m, err
}

// mend makes the member's value one that every parser takes.
func (m *member) mend() {
	if m.odd && m.depth <= maxDepth { // a deeper one is not passed on
		m.value, m.odd = mend(m.value), false
	}
}

// enter enters a member into the draft.
func (d *draft) enter(m member, what role) {
	m.mend()
	if d.seen(m.plain) {
		d.wrong(fmt.Sprintf("has %.100q twice", m.plain))
		return
	}
	if what == inBody && isHeadName(m.plain) {
		what = isHead
	}
	switch what {
	case isID:
		id, problem := textOf(m.value, maxIDSize, true)
		if problem != "" {
			d.wrong("id " + problem)
		}
		d.id = string(id)
	case isType:
		recordType, problem := textOf(m.value, maxTypeSize, false)
		if problem != "" {
			d.wrong("type " + problem)
		}
		if len(recordType) > 0 {
			d.recordType = lower(recordType)
		}
	case isTime, isTime2, isOwnTime:
		d.enterTime(m, what)
	case inBody:
		d.pass(m)
	case isHead:
		d.keep(original+strings.ToLower(string(m.plain)), m)
	}
}

// enterTime enters the record's own time. Of two, timestamp counts, and the
// other one is kept.
func (d *draft) enterTime(m member, what role) {
	if what == isOwnTime {
		d.member(documentFields, m)
	}
	if string(m.value) == "null" {
		return
	}
	other := m
	if d.time.value == nil || what == isTime {
		other, d.time, d.timeRole = d.time, m, what
	}
	if other.value != nil && what != isOwnTime {
		d.keep(original+string(other.plain), other)
	}
}

// pass passes a member on. A name that begins with an underscore may be one of
// Elasticsearch's own, and each of its versions has more of them: it refuses most,
// and _doc_count it believes.
func (d *draft) pass(m member) {
	if len(m.plain) > 0 && m.plain[0] == '_' {
		d.putAside(m)
		return
	}
	d.member(documentFields, m)
}

// headNames are those that stand before a record's body, and the one that the
// processor adds.
var headNames = []string{"doc_id", "index", "received_at", "digest", "earlier_index", "tenant", "region", "id", "type", "@timestamp", "indexed_at"}

// isHeadName reports whether a name, in capitals or not, is one of the head's:
// readers that do not know the difference, as Athena's and Go's, must not take a
// member of the body for the pipeline's word.
func isHeadName(name []byte) bool {
	const initials = "DEITRdeitr@" // spares most names the rest
	if len(name) == 0 || strings.IndexByte(initials, name[0]) < 0 {
		return false
	}
	for _, head := range headNames {
		if len(name) >= len(head) && len(name) <= 3*len(head) && strings.EqualFold(string(name), head) {
			return true
		}
	}
	return false
}

// object reads the record that the scanner comes to next, and takes or rejects
// it. recordType holds where the record has none; members of common where it
// has none of that name. An error means that the rest cannot be read.
func (b *batch) object(s *scanner, what roles, recordType string, common []member) error {
	if b.full != nil {
		return b.full
	}
	s.space()
	begin := s.at
	if b.beyond() || s.peek() != '{' {
		if _, err := s.value(); err != nil {
			return err
		}
		if err := b.over(s); err != nil {
			return err
		}
		b.reject("is not a JSON object")
		return nil
	}
	s.accept('{')
	d := b.draft
	d.reset(recordType)
	depth := 1
	for first := true; ; first = false {
		m, err := readMember(s, first)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		depth = max(depth, m.depth+1)
		d.enter(m, what(m.plain))
	}
	for _, m := range common {
		if d.has(m.plain) || what(m.plain) != inBody {
			continue
		}
		if m.invalid {
			d.wrong("is not valid UTF-8 in what it has in common with others")
			break
		}
		if len(d.body)+len(m.value) > b.limits.RecordBytes {
			d.wrong(fmt.Sprintf("is longer than %d bytes with what it has in common with others", b.limits.RecordBytes))
			break
		}
		depth = max(depth, m.depth+1)
		d.enter(m, inBody)
	}
	if depth > b.limits.Depth {
		d.wrong(fmt.Sprintf("is nested %d deep, more than %d", depth, b.limits.Depth))
	}
	if b.dirty && !utf8.Valid(s.data[begin:s.at]) {
		d.wrong("is not valid UTF-8")
	}
	if err := b.over(s); err != nil {
		return err
	}
	if !b.charge(len(d.body) + recordOverhead) {
		return b.full
	}
	b.finish(d)
	return nil
}

// over checks that nothing follows a record that has a line of its own, before
// the record is taken.
func (b *batch) over(s *scanner) error {
	if !b.lines {
		return nil
	}
	return s.end()
}

// finish takes or rejects the record of a draft.
func (b *batch) finish(d *draft) {
	if d.recordType == "" {
		d.wrong("has no type")
	}
	if d.problem != "" {
		b.reject(d.problem)
		return
	}
	at, kind := timeOf(d.time.value)
	if kind == timeUsable {
		kind = b.usable(at)
	}
	var original []byte
	switch {
	case kind == timeUsable, kind == timeMissing, d.timeRole == isOwnTime:
	case kind == timeAhead && !d.has(originalTimestamp):
		original = d.time.value
	default:
		d.keep(string(originalTimestamp), d.time)
	}
	if d.id == "" && kind == timeMissing && b.once.applies {
		d.id = b.onceID()
	}
	b.add(d.id, d.recordType, at, kind, d.end(), original)
}

// originalTimestamp keeps what could not become @timestamp.
var originalTimestamp = []byte("original_timestamp")

// textOf returns the text of a string, or of a number where that will do;
// nothing for null.
func textOf(value []byte, most int, number bool) (text []byte, problem string) {
	switch c := value[0]; {
	case c == '"':
		text = unquote(value[1 : len(value)-1])
	case c == 'n':
		return nil, ""
	case number && (c == '-' || c >= '0' && c <= '9'):
		text = value
	case number:
		return nil, "is neither a string nor a number"
	default:
		return nil, "is not a string"
	}
	if len(text) > most && utf8.RuneCount(text) > most {
		return nil, fmt.Sprintf("is longer than %d characters", most)
	}
	return text, ""
}

// lowerTypes spares common types an allocation.
var lowerTypes = func() map[string]string {
	m := make(map[string]string)
	for _, t := range telemetry.Types {
		m[t] = t
		m[strings.ToUpper(t[:1])+t[1:]] = t
	}
	return m
}()

func lower(recordType []byte) string {
	if known, ok := lowerTypes[string(recordType)]; ok {
		return known
	}
	return strings.ToLower(string(recordType))
}

// timeOf reads a JSON value as a record's own time: an RFC 3339 string, or a
// number of milliseconds since 1970, which may stand in quotes.
func timeOf(value []byte) (time.Time, timeKind) {
	if value == nil {
		return time.Time{}, timeMissing
	}
	text := value
	if value[0] == '"' {
		text = unquote(value[1 : len(value)-1])
	}
	var at time.Time
	if isNumber(text) {
		ns, fits := nanoseconds(text)
		if !fits {
			return time.Time{}, timeOutOfBounds
		}
		at = time.Unix(0, ns)
	} else {
		var ok bool
		if at, ok = parseTime(text); !ok {
			return time.Time{}, timeUnreadable
		}
	}
	if !telemetry.UsableTimestamp(at) {
		return time.Time{}, timeOutOfBounds
	}
	return at, timeUsable
}

// parseTime reads RFC 3339 as it may be written, with lower case and a space for
// the T (5.6), and offsets without a colon, which are ISO 8601's.
func parseTime(text []byte) (time.Time, bool) {
	const separator = len("2006-01-02")
	if last := len(text) - 1; last > separator && (text[separator] != 'T' || text[last] == 'z') {
		text = bytes.Clone(text)
		if text[separator] == 't' || text[separator] == ' ' {
			text[separator] = 'T'
		}
		if text[last] == 'z' {
			text[last] = 'Z'
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if at, err := time.Parse(layout, string(text)); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// appendTime appends a time as a JSON string.
func appendTime(dst []byte, at time.Time) []byte {
	dst = append(dst, '"')
	dst = at.UTC().AppendFormat(dst, telemetry.TimestampLayout)
	return append(dst, '"')
}
