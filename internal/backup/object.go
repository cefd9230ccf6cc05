package backup

import (
	"bytes"
	"compress/gzip"
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

// Shard says of which shard a chain is.
type Shard struct {
	Stream  string
	Created time.Time // tells a stream from a later one of the same name
	ID      string
}

// Key is where an object that begins with a record stands.
func (s Shard) Key(first Record) string {
	return fmt.Sprintf("%s/%s-%d-%s-%s.json.gz", first.Arrived.UTC().Format("dt=2006-01-02/hour=15"),
		s.Stream, s.Created.Unix(), s.ID, first.Sequence)
}

// Beginnings of a line. A record of ours keeps its own fields behind the
// pointers; any other is not known to be JSON, and goes as base64.
const (
	keyShard    = `{"backup_shard":"`
	keySequence = `","backup_sequence":"`
	keyForeign  = `,"backup_data":"`
)

// appendLine appends a record's line. Parsing decides only what form it takes.
func appendLine(dst []byte, shard string, r Record) []byte {
	dst = append(dst, keyShard...)
	dst = append(dst, shard...)
	dst = append(dst, keySequence...)
	dst = append(dst, r.Sequence...)
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

// encode makes the body of an object.
func encode(shard string, records []Record) ([]byte, error) {
	var body bytes.Buffer
	packer, line := gzip.NewWriter(&body), []byte(nil)
	for _, r := range records {
		line = appendLine(line[:0], shard, r)
		if _, err := packer.Write(line); err != nil {
			return nil, fmt.Errorf("compress a record: %w", err)
		}
	}
	if err := packer.Close(); err != nil {
		return nil, fmt.Errorf("compress records: %w", err)
	}
	return body.Bytes(), nil
}

// ParseLine returns the record of a line, without its arrival.
func ParseLine(line []byte) (shard string, r Record, err error) {
	rest, ok := bytes.CutPrefix(line, []byte(keyShard))
	id, rest, ok2 := bytes.Cut(rest, []byte(keySequence))
	sequence, rest, ok3 := bytes.Cut(rest, []byte{'"'})
	if !ok || !ok2 || !ok3 || len(rest) < 2 || rest[0] != ',' {
		return "", r, fmt.Errorf("read a line of %d bytes: the pointers are missing", len(line))
	}
	r.Sequence = string(sequence)
	if text, foreign := bytes.CutPrefix(rest, []byte(keyForeign)); foreign {
		text, ok = bytes.CutSuffix(text, []byte(`"}`))
		if r.Data, err = base64.StdEncoding.AppendDecode(nil, text); err != nil || !ok {
			return "", r, fmt.Errorf("read record %s: it is not base64", sequence)
		}
		return string(id), r, nil
	}
	r.Data = append([]byte{'{'}, rest[1:]...)
	return string(id), r, nil
}
