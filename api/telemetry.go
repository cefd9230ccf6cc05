package api

import (
	"bytes"
	"errors"
	"io"
)

// telemetryRoles is the naming of POST /v1/telemetry.
func telemetryRoles(name []byte) role {
	switch string(name) {
	case "id":
		return isID
	case "type":
		return isType
	case "timestamp":
		return isTime
	case "@timestamp":
		return isTime2
	}
	return inBody
}

// telemetryArray reads a JSON array of records, or a single one.
func telemetryArray(b *batch) error {
	b.once.applies = true
	return eachElement(b, func(s *scanner) error { return b.object(s, telemetryRoles, "", nil) })
}

// telemetryLines reads NDJSON: a record on each line. What is wrong with one
// line is no concern of the others.
func telemetryLines(b *batch) error {
	b.once.applies, b.lines = true, true
	var s scanner
	for rest := b.request; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		s.data, s.at = line, 0
		s.mark()
		if s.space(); s.at == len(line) {
			continue
		}
		if b.beyond() { // whatever it says
			b.leaveOut(1)
			continue
		}
		err := b.object(&s, telemetryRoles, "", nil)
		if wrong := (*syntaxError)(nil); errors.As(err, &wrong) {
			b.reject("is " + wrong.Error())
		} else if err != nil {
			return err
		}
	}
	return nil
}

// telemetrySniffed reads a body whose media type was not given.
func telemetrySniffed(b *batch) error {
	s := scanner{data: b.request}
	s.mark()
	s.space()
	switch s.peek() {
	case '[':
		return telemetryArray(b)
	case 0:
		return s.fail("a record")
	}
	return telemetryLines(b)
}

// eachElement calls read at each element of a JSON array, or at the only
// value that is not one. All elements are of one text: where that stops being
// JSON, nothing of it can be trusted.
func eachElement(b *batch, read func(*scanner) error) error {
	s := &scanner{data: b.request}
	s.mark()
	s.space()
	if s.accept('[') {
		for first := true; ; first = false {
			err := s.element(first)
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = read(s)
			}
			if err != nil {
				return err
			}
		}
	} else if err := read(s); err != nil {
		return err
	}
	return s.end()
}
