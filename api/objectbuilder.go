package api

import "bytes"

// objectBuilder writes a JSON object of members whose names and
// values Elasticsearch takes. Others are kept: under originalMembers, or by a
// name that begins with original.
type objectBuilder struct {
	body  []byte // from the opening brace
	names [][]byte
	many  map[string]bool // names, once they are many

	aside      []byte // members of originalMembers
	asideNames nameSet
	kept       []kept
}

// kept is a member that is to be written by another name.
type kept struct {
	as string
	member
}

// reset begins an object in the memory of an earlier one.
func (o *objectBuilder) reset(body []byte, names [][]byte) {
	*o = objectBuilder{body: append(body[:0], '{'), names: names[:0], aside: o.aside[:0], kept: o.kept[:0]}
}

// add writes a member, whose name is written as in JSON.
func (o *objectBuilder) add(name, value []byte, spaced bool) {
	o.body = appendMember(o.body, name, value, spaced)
}

// appendMember appends a member to an object that was begun.
func appendMember(dst, name, value []byte, spaced bool) []byte {
	if len(dst) > 1 {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	if spaced {
		return appendCompact(dst, value)
	}
	return append(dst, value...)
}

// member writes a member that came, as the field that the object is has it.
func (o *objectBuilder) member(f *indexField, m member) {
	child, ok := f.child(m.plain)
	if !ok || string(m.plain) == originalMembers {
		o.putAside(m)
		return
	}
	fitting, holds := child.fit(m.value)
	if !holds {
		o.keep(original+string(m.plain), m)
		return
	}
	o.add(m.name, fitting, m.spaced)
}

// keep keeps a member by another name. It is written at the end: only then is it
// known whether that name is taken.
func (o *objectBuilder) keep(as string, m member) { o.kept = append(o.kept, kept{as, m}) }

// putAside keeps a member under originalMembers.
func (o *objectBuilder) putAside(m member) {
	if len(o.aside) == 0 {
		o.aside, o.asideNames = append(o.aside, '{'), nameSet{}
	}
	name := m.name
	if plain := o.asideNames.apart(string(m.plain)); plain != string(m.plain) {
		name = appendEscaped(nil, plain)
	}
	o.aside = appendMember(o.aside, name, m.value, m.spaced)
}

// end writes what was kept, and the closing brace.
func (o *objectBuilder) end() []byte {
	for _, k := range o.kept {
		if o.seen([]byte(k.as)) {
			o.putAside(k.member)
			continue
		}
		o.add(appendEscaped(nil, k.as), k.value, k.spaced)
	}
	if len(o.aside) > 0 {
		o.aside = append(o.aside, '}')
		o.add([]byte(originalMembers), o.aside, false)
	}
	o.body = append(o.body, '}')
	return o.body
}

// seen notes a name and reports whether it was there before.
func (o *objectBuilder) seen(name []byte) bool {
	const few = 24 // so many are compared faster than hashed
	if o.has(name) {
		return true
	}
	o.names = append(o.names, name)
	switch {
	case len(o.names) == few:
		o.many = make(map[string]bool)
		for _, name := range o.names {
			o.many[string(name)] = true
		}
	case o.many != nil:
		o.many[string(name)] = true
	}
	return false
}

func (o *objectBuilder) has(name []byte) bool {
	if o.many != nil {
		return o.many[string(name)]
	}
	for _, other := range o.names {
		if bytes.Equal(name, other) {
			return true
		}
	}
	return false
}
