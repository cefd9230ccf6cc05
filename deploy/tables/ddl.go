package tables

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bucket stands in the files in the place of a bucket's name.
const Bucket = "BUCKET"

// DDL is the statement that makes a table in Athena.
func (l Layout) DDL(location string) (string, error) {
	columns, err := Columns(l.Pointed)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE EXTERNAL TABLE IF NOT EXISTS %s (\n", l.Table)
	for i, c := range columns {
		fmt.Fprintf(&b, "  `%s` string", c.Name)
		if c.Comment != "" {
			fmt.Fprintf(&b, " COMMENT %s", quote(c.Comment))
		}
		b.WriteString([...]string{",\n", "\n"}[min(1, (i+1)/len(columns))])
	}
	b.WriteString(")\nPARTITIONED BY (")
	for i, p := range l.Partition {
		b.WriteString([...]string{"", ", "}[min(1, i)] + "`" + p + "` string")
	}
	fmt.Fprintf(&b, ")\nROW FORMAT SERDE %s\n", quote(SerDe))
	properties(&b, "WITH SERDEPROPERTIES", SerDeProperties(columns))
	fmt.Fprintf(&b, "LOCATION %s\n", quote(location))
	properties(&b, "TBLPROPERTIES", l.Properties(location))
	return strings.TrimSuffix(b.String(), "\n") + ";\n", nil
}

func properties(b *strings.Builder, clause string, p map[string]string) {
	b.WriteString(clause + " (\n")
	keys := slices.Sorted(maps.Keys(p))
	for i, key := range keys {
		fmt.Fprintf(b, "  %s = %s%s\n", quote(key), quote(p[key]), [...]string{",", ""}[min(1, (i+1)/len(keys))])
	}
	b.WriteString(")\n")
}

// quote makes a string of Hive's. Where servers differ in how to escape, there
// is nothing to escape.
func quote(text string) string {
	return "'" + strings.NewReplacer("'", "’", `\`, "/").Replace(text) + "'"
}

// Files are the generated files, by name.
func Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, l := range []Layout{Ours, Firehose} {
		text, err := l.DDL("s3://" + Bucket + "/backup/")
		if err != nil {
			return nil, err
		}
		files[l.Table+".sql"] = []byte("-- Made by go generate from deploy/schema.md. Put the bucket's name in the place of " + Bucket + ".\n" + text)
	}
	schema, err := SparkSchema()
	if err != nil {
		return nil, err
	}
	files["telemetry.spark.json"] = schema
	return files, nil
}
