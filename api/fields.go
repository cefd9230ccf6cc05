package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"millrace/deploy"
)

// indexField is what the index templates say of a field, as far as it decides what
// Elasticsearch takes.
type indexField struct {
	kind     fieldKind
	children map[string]*indexField // of an object
}

type fieldKind int

const (
	otherField fieldKind = iota
	objectField
	dateField
	longField
	doubleField
)

// documentFields are the fields of a document. Only here, and only in fields
// that are objects, Elasticsearch looks at names.
var documentFields = func() *indexField {
	document := &indexField{kind: objectField, children: make(map[string]*indexField)}
	files, err := fs.Glob(deploy.Templates, "templates/*.json")
	if err != nil { // the pattern is a constant
		panic(err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(deploy.Templates, file)
		var template struct{ Template struct{ Mappings mapping } }
		if err == nil {
			err = json.Unmarshal(text, &template)
		}
		if err != nil { // they are part of the program
			panic(fmt.Sprintf("read the template %s: %v", file, err))
		}
		for name, m := range template.Template.Mappings.Properties {
			document.children[name] = m.field()
		}
	}
	return document
}()

// mapping is one as it stands in a template.
type mapping struct {
	Type       string
	Properties map[string]mapping
}

func (m mapping) field() *indexField {
	f := &indexField{kind: map[string]fieldKind{"date": dateField, "date_nanos": dateField, "long": longField, "double": doubleField}[m.Type]}
	if m.Properties != nil {
		f.kind, f.children = objectField, make(map[string]*indexField, len(m.Properties))
		for name, child := range m.Properties {
			f.children[name] = child.field()
		}
	}
	return f
}

// child finds what Elasticsearch takes a member of an object for: it reads a dot
// in a name as a step into an object. It is nil for a member that no template
// names. A name is false where Elasticsearch refuses the document for it: an
// empty step, or one into a field that is no object.
func (f *indexField) child(name []byte) (found *indexField, ok bool) {
	if found = f.children[string(name)]; found != nil { // nearly always
		return found, true
	}
	if bytes.IndexByte(name, '.') < 0 {
		return nil, !blank(name)
	}
	found = f
	for step := range bytes.SplitSeq(name, []byte{'.'}) {
		if blank(step) || found != nil && found.kind != objectField {
			return nil, false
		}
		if found != nil {
			found = found.children[string(step)]
		}
	}
	return found, true
}

// blank reports whether a step is empty or only white space, as Java sees it.
func blank(step []byte) bool {
	return len(bytes.TrimSpace(bytes.Trim(step, "\x1c\x1d\x1e\x1f"))) == 0
}

// original begins the name of a member whose value its field cannot hold, or
// whose name the pipeline uses itself.
const original = "original_"

// originalMembers holds members whose names Elasticsearch refuses, or takes for
// something else. What no template names it does not look into.
const originalMembers = original + "members"

// fit returns the value as the field takes it: itself, or the same in another
// form. It is false for a time or number that the field cannot hold, but for
// what is none at all: that is the record's own fault, and Elasticsearch says
// so. A nil field holds everything.
func (f *indexField) fit(value []byte) (fitting []byte, ok bool) {
	if f == nil {
		return value, true
	}
	switch f.kind {
	case dateField:
		return fitDate(value)
	case longField, doubleField:
		return value, f.holds(value)
	case objectField:
		return f.fitObjects(value), true
	case otherField:
	}
	return value, true
}

// holds reports whether a value is not a number that the field cannot hold.
func (f *indexField) holds(value []byte) bool {
	text := value
	if value[0] == '"' {
		text = value[1 : len(value)-1]
		switch string(text) {
		case "NaN", "Infinity", "-Infinity":
			return false
		}
	} else if value[0] > '9' { // neither a digit nor a sign
		return true
	}
	const short = 18 // digits that always fit
	if len(text) <= short && !bytes.ContainsAny(text, "eE") || !isNumber(text) {
		return true
	}
	if f.kind == longField {
		d, ok := parseDecimal(text, 0)
		_, fits := d.signed()
		return ok && fits
	}
	number, err := strconv.ParseFloat(string(text), 64)
	return err == nil && !math.IsInf(number, 0)
}

// fitDate writes times in a form that a date field takes: it knows no exponent
// and no lower case.
func fitDate(value []byte) ([]byte, bool) {
	text, quoted := value, value[0] == '"'
	if quoted {
		text = unquote(value[1 : len(value)-1])
	}
	if isNumber(text) {
		ns, ok := nanoseconds(text)
		if !ok {
			return nil, false
		}
		const fraction = 6 // digits that are taken
		at := bytes.IndexByte(text, '.')
		if !bytes.ContainsAny(text, "eE") && (at < 0 || len(text)-at-1 <= fraction) {
			return value, true
		}
		return appendMillis(nil, ns), true
	}
	if !quoted || strings.IndexFunc(string(text), func(r rune) bool { return r == 't' || r == 'z' || r == ' ' }) < 0 {
		return value, true
	}
	at, ok := parseTime(text)
	if !ok {
		return value, true
	}
	return appendTime(nil, at), true
}

// appendMillis appends nanoseconds as a number of milliseconds.
func appendMillis(dst []byte, ns int64) []byte {
	const milli = 1_000_000
	magnitude := uint64(ns)
	if ns < 0 {
		dst, magnitude = append(dst, '-'), -magnitude
	}
	dst = strconv.AppendUint(dst, magnitude/milli, 10)
	if part := magnitude % milli; part > 0 {
		dst = append(dst, strings.TrimRight(fmt.Sprintf(".%06d", part), "0")...)
	}
	return dst
}

// fitObjects fits an object, or each object of a list, and copies it only where
// something in it has to change.
func (f *indexField) fitObjects(value []byte) []byte {
	switch value[0] {
	case '{':
		return f.fitObject(value)
	case '[':
		return f.fitList(value)
	}
	return value
}

func (f *indexField) fitObject(value []byte) []byte {
	fits := true
	eachMember(value, func(m member) {
		child, ok := f.child(m.plain)
		fitting, holds := child.fit(m.value)
		fits = fits && ok && holds && same(fitting, m.value)
	})
	if fits {
		return value
	}
	var o objectBuilder
	o.reset(make([]byte, 0, len(value)+len(originalMembers)), nil)
	eachMember(value, func(m member) {
		o.seen(m.plain)
		o.member(f, m)
	})
	return o.end()
}

func (f *indexField) fitList(value []byte) []byte {
	dst, changed := append(make([]byte, 0, len(value)), '['), false
	s := &scanner{data: value, at: 1}
	for first := true; s.element(first) == nil; first = false {
		element, err := s.value()
		if err != nil { // cannot happen: it was scanned before
			return value
		}
		fitting := f.fitObjects(element)
		changed = changed || !same(fitting, element)
		if !first {
			dst = append(dst, ',')
		}
		dst = append(dst, fitting...)
	}
	if !changed {
		return value
	}
	return append(dst, ']')
}

// same reports whether two slices are one.
func same(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// eachMember calls do with the members of an object that was scanned before.
func eachMember(value []byte, do func(member)) {
	s := &scanner{data: value, at: 1}
	for first := true; ; first = false {
		m, err := readMember(s, first)
		if err != nil {
			return
		}
		do(m)
	}
}
