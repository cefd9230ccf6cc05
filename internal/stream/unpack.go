package stream

import (
	"fmt"

	"millrace/internal/container"
	"millrace/internal/telemetry"
)

// IsContainer reports whether a record begins as a container of documents does. It may be damaged: Documents says so.
func (r Record) IsContainer() bool { return container.FormOf(r.Data) != container.Single }

// Documents returns the documents that a record of the stream holds, with their positions: the record itself where it is no
// container. They share its memory, or take as much as container.Size says. Of a damaged container there are none, and the
// error wraps container.ErrDamaged.
func (r Record) Documents() ([]Record, error) {
	if !r.IsContainer() {
		return []Record{r}, nil
	}
	documents, err := container.Open(r.Data)
	if err != nil {
		return nil, fmt.Errorf("open record %s: %w", r.Sequence, err)
	}
	records := make([]Record, len(documents))
	for i, data := range documents {
		records[i] = r
		records[i].Sequence, records[i].Data = telemetry.Position(r.Sequence, i+1), data
	}
	return records, nil
}
