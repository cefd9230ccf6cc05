package stream

import (
	"millrace/internal/container"
	"millrace/internal/telemetry"
)

// IsContainer reports whether a record begins as a container of documents does. It may be damaged.
func (r Record) IsContainer() bool { return container.FormOf(r.Data) != container.Single }

// Documents returns the documents that a record of the stream holds, with their positions: the record itself where it is no
// container, or a damaged one, which is then no document of ours. They share its memory, or take as much as container.Size
// says.
func (r Record) Documents() []Record {
	if !r.IsContainer() {
		return []Record{r}
	}
	documents, err := container.Open(r.Data)
	if err != nil {
		return []Record{r}
	}
	records := make([]Record, len(documents))
	for i, data := range documents {
		records[i] = r
		records[i].Sequence, records[i].Data = telemetry.Position(r.Sequence, i+1), data
	}
	return records
}
