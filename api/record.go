package api

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

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
var headNames = []string{"doc_id", "index", "received_at", "digest", "earlier_index", "tenant", "region", "id", "type", "@timestamp", "ingest_trace", "indexed_at"}

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
