package find

import (
	"context"
	"time"

	"millrace/internal/index"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// Document is one that is indexed.
type Document struct {
	Index      string    `json:"index"`
	Doc        string    `json:"doc"`
	Tenant     string    `json:"tenant"`
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	ReceivedAt time.Time `json:"receivedAt,omitzero"` // by a collector
	IndexedAt  time.Time `json:"indexedAt,omitzero"`
	Region     string    `json:"region"` // of the collector
}

func documentOf(d index.Document) Document {
	return Document{
		Index: d.Index, Doc: d.DocID, Tenant: d.Tenant, ID: d.ID, Type: d.Type,
		ReceivedAt: d.ReceivedAt, IndexedAt: d.IndexedAt, Region: d.Region,
	}
}

func (f *Finder) inIndex(ctx context.Context, q Question) Search[Document] {
	if f.Documents == nil {
		return notSearched[Document]("documents are not in Elasticsearch (--sink)")
	}
	if q.ID == "" && q.Doc == "" && q.Trace == "" {
		return notSearched[Document](noName)
	}
	matches, err := f.Documents.Search(ctx, index.Wanted{Tenant: q.Tenant, ID: q.ID, TraceID: q.Trace, DocID: q.Doc}, q.Most)
	if err != nil {
		return failed[Document](err)
	}
	if len(matches.Documents) == 0 {
		fresh, err := f.Documents.Documents(ctx, references(q))
		if err != nil {
			return failed[Document](err)
		}
		matches.Documents = fresh
	}
	var found []Document
	for _, d := range matches.Documents {
		found = append(found, documentOf(d))
	}
	if q.Trace != "" && len(found) == 0 {
		matches.Gaps = append(matches.Gaps, "what was indexed in the last seconds, which no search sees yet")
	}
	return searched(found, matches.More, matches.Gaps)
}

// references are the documents that a record may be which was indexed a moment ago:
// of each type and day for which there are indices now. A search does not see them
// until the index is refreshed, some seconds later.
func references(q Question) (all []sink.Reference) {
	if q.Trace != "" {
		return nil
	}
	window := telemetry.Window{DaysBack: telemetry.DefaultDaysBack, DaysAhead: telemetry.DefaultDaysAhead}
	for _, name := range window.Names(time.Now()) {
		id := q.Doc
		if id == "" {
			id = telemetry.NewDocID(q.Tenant, name, q.ID).String()
		}
		all = append(all, sink.Reference{Index: name, ID: id})
	}
	return all
}
