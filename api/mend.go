package api

import (
	"errors"
	"io"
	"strconv"
)

// mend copies a JSON value that the scanner found odd, compact, with U+FFFD for
// each half of a character, and with words in quotes where JSON has no number.
// Names that become equal are told apart, see apart. It recurses, so the value's
// depth must have been looked at.
func mend(value []byte) []byte {
	s := &scanner{data: value}
	return s.mend(make([]byte, 0, len(value)+len(value)/8))
}

// mend appends the next value. It was scanned before, so nothing can be wrong.
func (s *scanner) mend(dst []byte) []byte {
	s.space()
	switch s.peek() {
	case '{':
		s.at++
		return s.mendObject(dst)
	case '[':
		s.at++
		return s.mendArray(dst)
	case '"':
		begin := s.at
		_ = s.skipString()
		return appendQuoted(dst, string(unquote(s.data[begin+1:s.at-1])))
	}
	begin := s.at
	s.odd = false
	_, _ = s.begin()
	if s.odd {
		return appendQuoted(dst, string(s.data[begin:s.at]))
	}
	return append(dst, s.data[begin:s.at]...)
}

func (s *scanner) mendObject(dst []byte) []byte {
	dst = append(dst, '{')
	names := nameSet{}
	for first := true; ; first = false {
		name, err := s.member(first)
		if errors.Is(err, io.EOF) {
			return append(dst, '}')
		}
		plain := names.apart(string(unquote(name)))
		if !first {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, plain), ':')
		dst = s.mend(dst)
	}
}

func (s *scanner) mendArray(dst []byte) []byte {
	dst = append(dst, '[')
	for first := true; ; first = false {
		if errors.Is(s.element(first), io.EOF) {
			return append(dst, ']')
		}
		if !first {
			dst = append(dst, ',')
		}
		dst = s.mend(dst)
	}
}

// nameSet holds the names of an object, each with how often it came.
type nameSet map[string]int

// apart returns a name that the object does not have yet, and enters it: the
// first of its kind as it is, the next with "#2" behind it, and so on.
// Elasticsearch takes no name twice, and nothing is to be lost.
func (s nameSet) apart(name string) string {
	n, taken := s[name]
	if !taken {
		s[name] = 1
		return name
	}
	for {
		n++
		next := name + "#" + strconv.Itoa(n)
		if _, taken := s[next]; !taken {
			s[name], s[next] = n, 1 // counting goes on from here: many equal names cost no more each
			return next
		}
	}
}

// appendQuoted appends text that is UTF-8 as a JSON string.
func appendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, text)
	return append(dst, '"')
}
