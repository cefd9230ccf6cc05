package api

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks JSON (RFC 8259) and builds nothing: it finds where values
// begin and end, and checks every byte between but for UTF-8. It does not
// recurse, so that no nesting can exhaust the stack. After an error it cannot
// go on.
//
// It takes two things that the RFC does not: NaN, Infinity and -Infinity as
// numbers, which Python's json and others write, and escapes for half a
// character. Both are odd, and mend replaces them.
type scanner struct {
	data []byte
	at   int
	// Of the last value:
	depth  int  // levels of nesting: 0 of a number, 1 of [], 2 of [[]]
	spaced bool // whether there is space outside of strings
	odd    bool // whether something in it is to be mended

	objects []uint64 // a bit for each open container: set for an object
}

// syntaxError says where a body stops being JSON.
type syntaxError struct {
	at   int
	want string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("not JSON: at byte %d: expected %s", e.at, e.want)
}

func (s *scanner) fail(want string) error { return &syntaxError{s.at, want} }

// What a byte means to the scanner.
const (
	plainByte  = iota // nothing
	quoteByte         // ends a string
	escapeByte        // begins an escape
	wrongByte         // may not stand in a string as it is
)

var stringBytes = func() (table [256]byte) {
	for c := range 0x20 {
		table[c] = wrongByte
	}
	table['"'], table['\\'] = quoteByte, escapeByte
	return table
}()

// space skips white space and reports whether there was any.
func (s *scanner) space() bool {
	begin := s.at
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\n', '\r', '\t':
			s.at++
		default:
			return s.at > begin
		}
	}
	return s.at > begin
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

// accept skips the byte c if it is the next one.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// value skips white space and one value, and returns the value's bytes.
func (s *scanner) value() ([]byte, error) {
	s.space()
	begin := s.at
	s.depth, s.spaced, s.odd = 0, false, false
	for level := 0; ; {
		opened, err := s.begin()
		if err != nil {
			return nil, err
		}
		if opened {
			s.push(level, s.data[s.at-1] == '{')
			level++
			s.depth = max(s.depth, level)
			if empty, err := s.first(level - 1); err != nil {
				return nil, err
			} else if !empty {
				continue
			}
			level--
		}
		// A value has ended; so may have the containers around it.
		for more := false; !more; {
			if level == 0 {
				return s.data[begin:s.at], nil
			}
			if more, err = s.next(level - 1); err != nil {
				return nil, err
			}
			if !more {
				level--
			}
		}
	}
}

// begin skips a scalar, or the bracket that opens a container.
func (s *scanner) begin() (opened bool, err error) {
	switch c := s.peek(); {
	case c == '"':
		return false, s.skipString()
	case c == '{' || c == '[':
		s.at++
		return true, nil
	case c == '-' || c >= '0' && c <= '9':
		return false, s.number()
	case c == 't':
		return false, s.literal("true")
	case c == 'f':
		return false, s.literal("false")
	case c == 'n':
		return false, s.literal("null")
	case c == 'N':
		s.odd = true
		return false, s.literal("NaN")
	case c == 'I':
		s.odd = true
		return false, s.literal("Infinity")
	}
	return false, s.fail("a value")
}

func (s *scanner) push(level int, object bool) {
	if level/64 == len(s.objects) {
		s.objects = append(s.objects, 0)
	}
	bit := uint64(1) << (level % 64)
	s.objects[level/64] &^= bit
	if object {
		s.objects[level/64] |= bit
	}
}

func (s *scanner) object(level int) bool { return s.objects[level/64]&(1<<(level%64)) != 0 }

// first comes to the first value of a container, or past its end.
func (s *scanner) first(level int) (empty bool, err error) {
	s.note(s.space())
	if !s.object(level) {
		return s.accept(']'), nil
	}
	if s.accept('}') {
		return true, nil
	}
	return false, s.skipName()
}

// next comes to the next value of a container, or past its end.
func (s *scanner) next(level int) (more bool, err error) {
	s.note(s.space())
	object := s.object(level)
	switch c := s.peek(); {
	case c == ',':
		s.at++
		s.note(s.space())
		if object {
			return true, s.skipName()
		}
		return true, nil
	case c == '}' && object, c == ']' && !object:
		s.at++
		return false, nil
	case object:
		return false, s.fail("',' or '}'")
	}
	return false, s.fail("',' or ']'")
}

// note keeps that there was space outside of strings.
func (s *scanner) note(spaced bool) { s.spaced = s.spaced || spaced }

// skipName skips a member's name, the colon and the space around it.
func (s *scanner) skipName() error {
	if s.peek() != '"' {
		return s.fail("a name in quotes")
	}
	if err := s.skipString(); err != nil {
		return err
	}
	s.note(s.space())
	if !s.accept(':') {
		return s.fail("':'")
	}
	s.note(s.space())
	return nil
}

func (s *scanner) skipString() error {
	at := s.at + 1
	for ; at < len(s.data); at++ {
		switch stringBytes[s.data[at]] {
		case plainByte:
		case quoteByte:
			s.at = at + 1
			return nil
		case escapeByte:
			size, odd := escapeSize(s.data[at:])
			if size == 0 {
				s.at = at
				return s.fail("an escape")
			}
			s.odd = s.odd || odd
			at += size - 1
		default:
			s.at = at
			return s.fail("an escape for a control character")
		}
	}
	s.at = len(s.data)
	return s.fail(`'"'`)
}

// escapeSize returns the length of the escape that b begins with, 0 for none. A
// pair of surrogates is one escape; half of one is odd.
func escapeSize(b []byte) (size int, odd bool) {
	if len(b) < 2 {
		return 0, false
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, false
	case 'u':
		r, size := escapedRune(b)
		return size, r < 0
	}
	return 0, false
}

// escapedRune reads \uXXXX, or two of them that are one character. The rune is
// -1 for half a character, the size 0 for none.
func escapedRune(b []byte) (r rune, size int) {
	const one = len(`\u0000`)
	unit, ok := hexUnit(b)
	switch {
	case !ok:
		return 0, 0
	case !utf16.IsSurrogate(unit):
		return unit, one
	}
	low, ok := hexUnit(b[one:])
	if r = utf16.DecodeRune(unit, low); !ok || r == utf8.RuneError {
		return -1, one
	}
	return r, 2 * one
}

// hexUnit reads \uXXXX.
func hexUnit(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func (s *scanner) number() error {
	s.accept('-')
	switch c := s.peek(); {
	case c == 'I' && s.at > 0 && s.data[s.at-1] == '-':
		s.odd = true
		return s.literal("Infinity")
	case c == '0':
		s.at++
	case c >= '1' && c <= '9':
		s.digits()
	default:
		return s.fail("a digit")
	}
	if s.accept('.') && !s.digits() {
		return s.fail("a digit")
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return s.fail("a digit")
		}
	}
	return nil
}

// digits skips digits and reports whether there were any.
func (s *scanner) digits() bool {
	begin := s.at
	for s.at < len(s.data) && s.data[s.at] >= '0' && s.data[s.at] <= '9' {
		s.at++
	}
	return s.at > begin
}

func (s *scanner) literal(text string) error {
	if !bytes.HasPrefix(s.data[s.at:], []byte(text)) {
		return s.fail("a value")
	}
	s.at += len(text)
	return nil
}

// member comes to the next member of the object that the scanner stands in,
// right behind its opening brace or a member, and returns its name as it is
// written, without quotes. There is no name behind the last one: io.EOF.
func (s *scanner) member(first bool) (name []byte, err error) {
	s.space()
	if s.accept('}') {
		return nil, io.EOF
	}
	if !first {
		if !s.accept(',') {
			return nil, s.fail("',' or '}'")
		}
		s.space()
	}
	begin := s.at
	if s.peek() != '"' {
		return nil, s.fail("a name in quotes")
	}
	if err := s.skipString(); err != nil {
		return nil, err
	}
	name = s.data[begin+1 : s.at-1]
	s.space()
	if !s.accept(':') {
		return nil, s.fail("':'")
	}
	return name, nil
}

// element comes to the next element of the array that the scanner stands in,
// or past its end: io.EOF.
func (s *scanner) element(first bool) error {
	s.space()
	if s.accept(']') {
		return io.EOF
	}
	if !first {
		if !s.accept(',') {
			return s.fail("',' or ']'")
		}
		s.space()
	}
	return nil
}

// end checks that nothing follows.
func (s *scanner) end() error {
	s.space()
	if s.at < len(s.data) {
		return s.fail("the end")
	}
	return nil
}

// appendCompact appends a valid JSON value without the space outside of its
// strings.
func appendCompact(dst, value []byte) []byte {
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case ' ', '\n', '\r', '\t':
		case '"':
			begin := i
			for i++; value[i] != '"'; i++ {
				if value[i] == '\\' {
					i++
				}
			}
			dst = append(dst, value[begin:i+1]...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unquote returns the text of a valid JSON string, given without its quotes,
// with U+FFFD for each half of a character. It shares the string's memory where
// there is no escape.
func unquote(text []byte) []byte {
	at := bytes.IndexByte(text, '\\')
	if at < 0 {
		return text
	}
	dst := append(make([]byte, 0, len(text)), text[:at]...)
	for at < len(text) {
		if text[at] != '\\' {
			dst = append(dst, text[at])
			at++
			continue
		}
		if text[at+1] != 'u' {
			dst = append(dst, shortEscapes[text[at+1]])
			at += 2
			continue
		}
		r, size := escapedRune(text[at:])
		if r < 0 {
			r = utf8.RuneError
		}
		dst = utf8.AppendRune(dst, r)
		at += size
	}
	return dst
}

var shortEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// nanoseconds reads a JSON number of milliseconds, within the range of
// nanoseconds in 64 bits.
func nanoseconds(number []byte) (int64, bool) {
	const shift = 6
	d, ok := parseDecimal(number, shift)
	ns, fits := d.signed()
	return ns, ok && fits
}

// byteOrderMark begins what some editors and libraries of Windows write.
var byteOrderMark = []byte("\uFEFF")

// mark skips a byte order mark, which has no place in JSON (RFC 8259, 8.1) and
// may be ignored.
func (s *scanner) mark() {
	if bytes.HasPrefix(s.data[s.at:], byteOrderMark) {
		s.at += len(byteOrderMark)
	}
}
