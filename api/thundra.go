package api

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// thundraRoles is the naming of what stands under `data`. The times stay where
// they are: the agents' users look for them there.
func thundraRoles(name []byte) role {
	switch string(name) {
	case "id":
		return isID
	case "type":
		return isType
	case "startTimestamp", "logTimestamp", "metricTimestamp":
		return isOwnTime
	}
	return inBody
}

// compositeType is of an envelope that holds many records and what they have
// in common.
const compositeType = "composite"

// thundra reads a JSON array of envelopes {apiKey, type, dataModelVersion,
// data}, or a single one. Positions are those of the records, once composite
// ones are unpacked. The apiKey is left behind here: the header's counts, and
// no document may show one.
func thundra(b *batch) error {
	return eachElement(b, func(s *scanner) error { return b.envelope(s) })
}

// envelope reads one envelope.
func (b *batch) envelope(s *scanner) error {
	if b.full != nil {
		return b.full
	}
	s.space()
	if !s.accept('{') {
		if _, err := s.value(); err != nil {
			return err
		}
		b.reject("is not a JSON object")
		return nil
	}
	var data []byte
	recordType, problem := "", ""
	for first := true; ; first = false {
		m, err := readMember(s, first)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch string(m.plain) {
		case "data":
			if data != nil {
				problem = `has "data" twice`
			}
			data = m.value
		case "type":
			text, wrong := textOf(m.value, maxTypeSize, false)
			if b.dirty && !utf8.Valid(text) {
				wrong = "is not valid UTF-8"
			}
			if wrong != "" {
				problem = "type " + wrong
			}
			recordType = lower(text)
		}
	}
	switch {
	case problem != "":
	case data == nil:
		problem = "has no data"
	case recordType == compositeType:
		return b.composite(data)
	default:
		return b.object(&scanner{data: data}, thundraRoles, recordType, nil)
	}
	b.reject(problem)
	return nil
}

// composite reads data that holds many records under allMonitoringData; every
// other member is common to them.
func (b *batch) composite(data []byte) error {
	s := &scanner{data: data}
	var common []member
	var all []byte
	if s.accept('{') {
		for first := true; ; first = false {
			m, err := readMember(s, first)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if string(m.plain) == "allMonitoringData" {
				all = m.value
			} else if !b.beyond() {
				m.mend()
				m.invalid = b.dirty && (!utf8.Valid(m.name) || !utf8.Valid(m.value))
				common = append(common, m)
				if len(common) > b.limits.Values { // each record would look at all of them
					b.reject(fmt.Sprintf("has more than %d members in common", b.limits.Values))
					return nil
				}
			}
		}
	}
	inner := &scanner{data: all}
	if !inner.accept('[') {
		b.reject("has no list allMonitoringData")
		return nil
	}
	for first := true; ; first = false {
		if err := inner.element(first); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := b.object(inner, thundraRoles, "", common); err != nil {
			return err
		}
	}
}
