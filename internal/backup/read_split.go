package backup

import (
	"bytes"
	"errors"
	"io"

	"millrace/internal/telemetry"
)

// mostDocument bounds in bytes what is taken for one document: a record, with
// the pointers of our lines, as base64 if it is foreign.
const mostDocument = telemetry.MaxRecordSize*4/3 + 4096

// head is how our records begin, wherever they stand.
var head = []byte(`{"doc_id":"`)

// splitter cuts a text into documents: one a line, or one behind the other.
// Where something that is no document stands between them, it comes as a piece
// of its own.
type splitter struct {
	source   io.Reader
	buf      []byte
	from, to int // what is read and not cut yet
	searched int // up to here there is no line break
	err      error
	cut      error // a record was cut off
}

var errCut = errors.New("it has a record that is cut off")

// next returns the next document, in memory that is used again. The error is
// that of the source, or that a record is cut off; what was read before it comes
// first.
func (s *splitter) next() ([]byte, error) {
	for {
		s.skipSpace()
		if s.from < s.to || s.err != nil {
			break
		}
		s.fill()
	}
	if s.from == s.to {
		return nil, s.end()
	}
	line, whole := s.line()
	if !whole && s.err != nil && !errors.Is(s.err, io.EOF) {
		// The source ended inside of it; but a complete document may stand there.
		if end := documentEnd(line); end > 0 {
			return s.piece(end), nil
		}
		s.from = s.to
		return nil, s.err
	}
	at, last := bytes.Index(line[1:], head)+1, whole && s.from+len(line) == s.to
	if whole && at == 0 && !last { // by far the most
		return s.piece(len(line)), nil
	}
	switch end := documentEnd(line); {
	case end > 0:
		return s.piece(end), nil
	case at > 0: // a piece of something, and behind it one of ours, or one that it has inside
		if bytes.HasPrefix(line, head) {
			s.cut = errCut
		}
		return s.piece(at), nil
	case last && line[0] == '{': // no foreign record, but what is left of one
		s.from, s.cut = s.to, errCut
		return nil, s.end()
	}
	return s.piece(len(line)), nil
}

// end is how the text ends: well only if no record was cut off.
func (s *splitter) end() error {
	if s.cut != nil && errors.Is(s.err, io.EOF) {
		return s.cut
	}
	return s.err
}

func (s *splitter) skipSpace() {
	for s.from < s.to && (s.buf[s.from] == '\n' || s.buf[s.from] == '\r' || s.buf[s.from] == ' ' || s.buf[s.from] == '\t') {
		s.from++
	}
	s.searched = max(s.searched, s.from)
}

// line returns what stands up to the next line break, and whether there is
// one, or the text ends well; else it is as much as a document may have.
func (s *splitter) line() (line []byte, whole bool) {
	for {
		if at := bytes.IndexByte(s.buf[s.searched:s.to], '\n'); at >= 0 {
			s.searched += at
			return bytes.TrimRight(s.buf[s.from:s.searched], "\r"), true
		}
		s.searched = s.to
		if s.err != nil {
			return s.buf[s.from:s.to], errors.Is(s.err, io.EOF)
		}
		// Without delimiters a document ends long before the text does.
		if s.to-s.from > mostDocument || s.to-s.from >= readerBytes/2 && documentEnd(s.buf[s.from:s.to]) > 0 {
			return s.buf[s.from:s.to], false
		}
		s.fill()
	}
}

func (s *splitter) piece(n int) []byte {
	document := s.buf[s.from : s.from+n : s.from+n]
	s.from += n
	s.searched = max(s.searched, s.from)
	return document
}

// fill reads more.
func (s *splitter) fill() {
	if s.from > 0 {
		copy(s.buf, s.buf[s.from:s.to])
		s.to -= s.from
		s.searched -= s.from
		s.from = 0
	}
	if s.to == len(s.buf) {
		s.buf = append(s.buf, make([]byte, max(len(s.buf), readerBytes))...)
	}
	for empty := 0; s.err == nil; empty++ {
		n, err := s.source.Read(s.buf[s.to:])
		s.to += n
		s.err = err
		if n > 0 {
			return
		}
		if empty == 100 {
			s.err = io.ErrNoProgress
		}
	}
}

// documentEnd returns where the JSON object at the start of a text ends, or
// zero. It looks at braces and strings only.
func documentEnd(text []byte) int {
	if len(text) == 0 || text[0] != '{' {
		return 0
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}
