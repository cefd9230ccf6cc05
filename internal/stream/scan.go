package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// maxDepth bounds the nesting of values that are skipped.
const maxDepth = 100

var errSyntax = errors.New("malformed JSON")

// scanner walks over JSON text by hand. It checks what it needs to find its
// way, not every rule of JSON, and allocates only for strings with escapes.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) fail(what string) error {
	return fmt.Errorf("%w at byte %d: %s", errSyntax, s.at, what)
}

// peek skips white space and returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// skip consumes c if it comes next.
func (s *scanner) skip(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// null consumes a null if it comes next.
func (s *scanner) null() bool {
	if s.peek() != 'n' || !bytes.HasPrefix(s.text[s.at:], []byte("null")) {
		return false
	}
	s.at += len("null")
	return true
}

// quoted returns the inside of the string that comes next, and whether it has
// escapes in it.
func (s *scanner) quoted() (inside []byte, escaped bool, err error) {
	if !s.skip('"') {
		return nil, false, s.fail("no string")
	}
	from := s.at
	for {
		length := bytes.IndexByte(s.text[s.at:], '"')
		if length < 0 {
			return nil, false, s.fail("string without end")
		}
		end := s.at + length
		// A backslash before it may belong to the quote, or to the backslash before that.
		slashes := 0
		for slashes < end-from && s.text[end-1-slashes] == '\\' {
			slashes++
		}
		s.at = end + 1
		if slashes%2 == 0 {
			inside = s.text[from:end]
			return inside, bytes.IndexByte(inside, '\\') >= 0, nil
		}
	}
}

// str returns the string that comes next, with its escapes resolved. It shares
// the text's memory unless it has any.
func (s *scanner) str() ([]byte, error) {
	inside, escaped, err := s.quoted()
	if err != nil || !escaped {
		return inside, err
	}
	var value string
	if err := json.Unmarshal(s.text[s.at-len(inside)-2:s.at], &value); err != nil {
		return nil, fmt.Errorf("%w at byte %d: %w", errSyntax, s.at, err)
	}
	return []byte(value), nil
}

// number returns the text of the number that comes next.
func (s *scanner) number() ([]byte, error) {
	s.peek()
	from := s.at
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			break
		}
	}
	if from == s.at {
		return nil, s.fail("no number")
	}
	return s.text[from:s.at], nil
}

// object calls field for each key of the object that comes next; field
// consumes the value.
func (s *scanner) object(field func(key []byte) error) error {
	if !s.skip('{') {
		return s.fail("no object")
	}
	if s.skip('}') {
		return nil
	}
	for {
		key, err := s.str()
		if err != nil {
			return err
		}
		if !s.skip(':') {
			return s.fail("no colon")
		}
		if err := field(key); err != nil {
			return err
		}
		if s.skip(',') {
			continue
		}
		if s.skip('}') {
			return nil
		}
		return s.fail("neither comma nor brace")
	}
}

// array calls element before each element of the array that comes next;
// element consumes it.
func (s *scanner) array(element func() error) error {
	if !s.skip('[') {
		return s.fail("no array")
	}
	if s.skip(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.skip(',') {
			continue
		}
		if s.skip(']') {
			return nil
		}
		return s.fail("neither comma nor bracket")
	}
}

// value consumes any value and returns its text.
func (s *scanner) value(depth int) ([]byte, error) {
	if depth == maxDepth {
		return nil, s.fail("nested too deep")
	}
	var err error
	next := s.peek()
	from := s.at
	switch next {
	case '"':
		_, _, err = s.quoted()
	case '{':
		err = s.object(func([]byte) error { _, err := s.value(depth + 1); return err })
	case '[':
		err = s.array(func() error { _, err := s.value(depth + 1); return err })
	case 't', 'f', 'n':
		for s.at < len(s.text) && s.text[s.at] >= 'a' && s.text[s.at] <= 'z' {
			s.at++
		}
	default:
		_, err = s.number()
	}
	return s.text[from:s.at], err
}

// powers of ten that an int64 holds.
var powers = func() (p [19]int64) {
	p[0] = 1
	for i := range len(p) - 1 {
		p[i+1] = 10 * p[i]
	}
	return p
}()

// maxSeconds bounds a point in time to what time.Time prints: year 9999.
const maxSeconds = 253402300799

// epoch reads a number of seconds since 1970, plain (1.5) or with an exponent,
// as Kinesis writes it (1.441215410867E9), without the rounding of a float.
func epoch(number []byte) (time.Time, error) {
	var digits, exponent int64
	count, fraction, point := 0, 0, false
	i := 0
	for ; i < len(number); i++ {
		c := number[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		digits = 10*digits + int64(c-'0')
		count++
		if point {
			fraction++
		}
	}
	plain := count > 0 && count <= 18
	if i < len(number) && plain {
		e, err := strconv.Atoi(string(number[i+1:]))
		plain = (number[i] == 'e' || number[i] == 'E') && err == nil && e >= -18 && e <= 18
		exponent = int64(e)
	}
	// digits × 10^shift is in nanoseconds: 19 digits of them, today.
	if shift := 9 - int64(fraction) + exponent; plain && shift >= -18 && shift <= 18 && digits <= math.MaxInt64/powers[max(shift, 0)] {
		for ; shift > 0; shift-- {
			digits *= 10
		}
		for ; shift < 0; shift++ {
			digits /= 10
		}
		return time.Unix(0, digits).UTC(), nil
	}
	seconds, err := strconv.ParseFloat(string(number), 64)
	if err != nil || seconds < -maxSeconds || seconds > maxSeconds {
		return time.Time{}, fmt.Errorf("%w: %q is not a time", errSyntax, number)
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)).UTC(), nil
}
