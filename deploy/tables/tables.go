// Package tables derives from schema.md, where the fields of a document are
// written down, what analysts need over the backup: Athena's tables and Spark's
// schema. The files beside it are made of it by go generate.
//
// Every column is a string. Numbers and times are what agents sent, and a
// record that no index took is in the backup like any other: in a table with
// numbers one of them would fail each query. A query converts what it needs:
// try_cast(duration AS bigint). An object is its JSON text:
// json_extract_scalar(resource, '$.attributes["service.name"]').
package tables

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"millrace/deploy"
)

//go:generate go run ./generate

// Column is one column of a table.
type Column struct {
	Name    string // as Athena knows it: lower case, without @
	Key     string // of the JSON document
	Comment string
}

// pointers are the columns that are of the backup's own.
var pointers = []Column{
	{"backup_shard", "backup_shard", "shard of the stream"},
	{"backup_sequence", "backup_sequence", "sequence number in that shard"},
	{"backup_arrived", "backup_arrived", "when the stream took it, UTC"},
	{"backup_data", "backup_data", "base64 of a record that no collector wrote"},
	{"doc_id", "doc_id", "the _id in Elasticsearch: the same for each copy of a record"},
	{"index", "index", "the index that it belongs to"},
}

// notInBackup is what the processor adds to a document.
const notInBackup = "indexed_at"

var (
	row     = regexp.MustCompile("^\\| `([^`]+)` \\| ([a-z_]+) \\|(.*)\\|$")
	heading = "## Every document"
	ending  = "## Changing it"

	errNoFields = errors.New("schema.md has no tables of fields")
)

// Columns are the columns of a table over objects of ours, or where pointed is
// false, of Firehose's, which do not say where a record was.
func Columns(pointed bool) ([]Column, error) {
	columns, known := []Column{}, map[string]string{}
	add := func(c Column) error {
		if key, twice := known[c.Name]; twice && key != c.Key {
			return fmt.Errorf("%s and %s are one column", key, c.Key)
		} else if !twice {
			known[c.Name] = c.Key
			columns = append(columns, c)
		}
		return nil
	}
	for _, p := range pointers {
		if !pointed && strings.HasPrefix(p.Name, "backup_") {
			continue
		}
		if err := add(p); err != nil {
			return nil, err
		}
	}
	_, text, ok := strings.Cut(deploy.Schema, heading)
	text, _, ok2 := strings.Cut(text, ending)
	if !ok || !ok2 {
		return nil, errNoFields
	}
	for line := range strings.Lines(text) {
		cells := row.FindStringSubmatch(strings.TrimSpace(line))
		if cells == nil || cells[1] == notInBackup {
			continue
		}
		key, inner, nested := strings.Cut(cells[1], ".")
		c := Column{Name: strings.ToLower(strings.TrimPrefix(key, "@")), Key: key, Comment: strings.TrimSpace(cells[3])}
		if nested {
			c.Comment = "JSON: " + inner + ", …"
		}
		if err := add(c); err != nil {
			return nil, err
		}
	}
	return columns, nil
}

// Layout is one way in which objects lie in a bucket.
type Layout struct {
	Table     string
	Pointed   bool
	Partition []string // columns
	// Projection are the table's properties from which Athena derives partitions.
	Projection map[string]string
	Template   string // of a partition's place, behind the location
}

// Ours is what BackupStream writes, Firehose what Amazon's delivery stream does.
var (
	Ours = Layout{
		Table: "telemetry", Pointed: true, Partition: []string{"dt", "hour"},
		Projection: map[string]string{
			"projection.dt.type": "date", "projection.dt.format": "yyyy-MM-dd", "projection.dt.range": "2020-01-01,NOW",
			"projection.dt.interval": "1", "projection.dt.interval.unit": "DAYS",
			"projection.hour.type": "integer", "projection.hour.range": "0,23", "projection.hour.digits": "2",
		},
		Template: "dt=${dt}/hour=${hour}/",
	}
	Firehose = Layout{
		Table: "telemetry_firehose", Partition: []string{"arrived"},
		Projection: map[string]string{
			"projection.arrived.type": "date", "projection.arrived.format": "yyyy/MM/dd/HH", "projection.arrived.range": "2020/01/01/00,NOW",
			"projection.arrived.interval": "1", "projection.arrived.interval.unit": "HOURS",
		},
		Template: "${arrived}/",
	}
)

// SerDe is what reads a line: it gives an object as its text where a string is
// wanted, and makes a broken line a row of nulls.
const SerDe = "org.openx.data.jsonserde.JsonSerDe"

// SerDeProperties name the key of each column that has another name: keys are
// told apart by case. Without that a line with both "tenant" and "Tenant", as
// old backups have, would have a key twice, at any depth, and so be taken for
// broken: its record would not be counted.
func SerDeProperties(columns []Column) map[string]string {
	p := map[string]string{"ignore.malformed.json": "true", "case.insensitive": "false"}
	for _, c := range columns {
		if c.Name != c.Key {
			p["mapping."+c.Name] = c.Key
		}
	}
	return p
}

// Properties are the table's own, for objects at a location that ends in a
// slash.
func (l Layout) Properties(location string) map[string]string {
	p := map[string]string{"projection.enabled": "true", "classification": "json", "storage.location.template": location + l.Template}
	for key, value := range l.Projection {
		p[key] = value
	}
	return p
}

// SparkSchema is the schema of our objects as Spark writes it (StructType.json).
func SparkSchema() ([]byte, error) {
	columns, err := Columns(true)
	if err != nil {
		return nil, err
	}
	type field struct {
		Name     string            `json:"name"`
		Type     string            `json:"type"`
		Nullable bool              `json:"nullable"`
		Metadata map[string]string `json:"metadata"`
	}
	schema := struct {
		Type   string  `json:"type"`
		Fields []field `json:"fields"`
	}{Type: "struct"}
	for _, c := range columns {
		schema.Fields = append(schema.Fields, field{c.Key, "string", true, map[string]string{"comment": c.Comment}})
	}
	text, err := json.MarshalIndent(schema, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode Spark's schema: %w", err)
	}
	return append(text, '\n'), nil
}
