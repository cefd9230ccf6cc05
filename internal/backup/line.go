package backup

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"time"

	"millrace/internal/telemetry"
)

// Record is one record of a shard.
type Record struct {
	Sequence string
	Arrived  time.Time
	Data     []byte
}

// Beginnings of a line. A record of ours keeps its own fields behind the
// pointers; any other is not known to be JSON, and goes as base64.
const (
	keyShard    = `{"backup_shard":"`
	keySequence = `","backup_sequence":"`
	keyArrived  = `","backup_arrived":"`
	keyForeign  = `,"backup_data":"`
)

// arrivedLayout is the form of backup_arrived: the milliseconds of Kinesis.
const arrivedLayout = telemetry.ReceivedAtLayout

// appendLine appends a record's line. Parsing decides only what form it takes.
func appendLine(dst []byte, shard string, r Record) []byte {
	dst = append(dst, keyShard...)
	dst = append(dst, shard...)
	dst = append(dst, keySequence...)
	dst = append(dst, r.Sequence...)
	dst = append(dst, keyArrived...)
	dst = r.Arrived.UTC().AppendFormat(dst, arrivedLayout)
	dst = append(dst, '"')
	if _, err := telemetry.Parse(r.Data); err == nil {
		dst = append(dst, ',')
		dst = append(dst, r.Data[1:]...)
		return append(dst, '\n')
	}
	dst = append(dst, keyForeign...)
	dst = base64.StdEncoding.AppendEncode(dst, r.Data)
	return append(dst, '"', '}', '\n')
}

// ParseLine returns the record of a line, with or without its line break, as
// it was in the stream.
func ParseLine(line []byte) (shard string, r Record, err error) {
	return new(parser).parse(line)
}

// parser parses lines that follow each other. Most have the shard of the one
// before, and many its arrival; what it returns is the caller's, but shares
// memory with its neighbours.
type parser struct {
	shard       string
	arrivedText []byte
	arrived     time.Time
	room        []byte // for what comes next
}

// roomBytes is what a parser takes at once, of memory that is returned.
const roomBytes = 64 << 10

func (p *parser) parse(line []byte) (shard string, r Record, err error) {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	rest, ok := bytes.CutPrefix(line, []byte(keyShard))
	id, rest, ok2 := bytes.Cut(rest, []byte(keySequence))
	sequence, rest, ok3 := bytes.Cut(rest, []byte(keyArrived))
	arrived, rest, ok4 := bytes.Cut(rest, []byte{'"'})
	if !ok || !ok2 || !ok3 || !ok4 || len(rest) < 2 || rest[0] != ',' {
		return "", r, fmt.Errorf("read a line of %d bytes: the pointers are missing", len(line))
	}
	r.Sequence = string(sequence)
	if !bytes.Equal(arrived, p.arrivedText) {
		if p.arrived, err = time.Parse(arrivedLayout, string(arrived)); err != nil {
			p.arrivedText = nil
			return "", r, fmt.Errorf("read record %s: %w", sequence, err)
		}
		p.arrivedText = append(p.arrivedText[:0], arrived...)
	}
	r.Arrived = p.arrived
	if string(id) != p.shard {
		p.shard = string(id)
	}
	if text, foreign := bytes.CutPrefix(rest, []byte(keyForeign)); foreign {
		text, ok = bytes.CutSuffix(text, []byte(`"}`))
		if r.Data, err = base64.StdEncoding.AppendDecode(nil, text); err != nil || !ok {
			return "", r, fmt.Errorf("read record %s: it is not base64", sequence)
		}
		return p.shard, r, nil
	}
	if rest[len(rest)-1] != '}' {
		return "", r, fmt.Errorf("read record %s: its line is cut off", sequence)
	}
	r.Data = p.keep(rest)
	r.Data[0] = '{'
	return p.shard, r, nil
}

// keep copies a text.
func (p *parser) keep(text []byte) []byte {
	if len(text) > roomBytes/4 { // it would keep its neighbours in memory for long
		return bytes.Clone(text)
	}
	if len(text) > len(p.room) {
		p.room = make([]byte, roomBytes)
	}
	kept := p.room[:len(text):len(text)]
	p.room = p.room[copy(kept, text):]
	return kept
}
