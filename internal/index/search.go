package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// Document is where a document is, and its head.
type Document struct {
	Index      string
	DocID      string
	Tenant     string
	ID         string
	Type       string
	Region     string
	ReceivedAt time.Time
	IndexedAt  time.Time
}

// Wanted says which documents are looked for: those of a tenant's record or trace, or
// the one of a document id.
type Wanted struct {
	Tenant  string // may be empty with DocID only
	ID      string
	TraceID string
	DocID   string
}

// indices is the pattern of those to search.
func (w Wanted) indices() string {
	if w.Tenant == telemetry.CanaryTenant {
		return telemetry.CanaryIndices
	}
	return telemetry.IndexPrefix + "*"
}

func (w Wanted) query() map[string]any {
	term := func(field, value string) any { return map[string]any{"term": map[string]any{field: value}} }
	var filters []any
	if w.Tenant != "" {
		filters = append(filters, term("tenant", w.Tenant))
	}
	switch {
	case w.DocID != "":
		filters = append(filters, map[string]any{"ids": map[string]any{"values": []string{w.DocID}}})
	case w.TraceID != "": // as OpenTelemetry and the thundra agents name it
		filters = append(filters, map[string]any{"bool": map[string]any{
			"should": []any{term("trace_id", w.TraceID), term("traceId", w.TraceID)}, "minimum_should_match": 1,
		}})
	default:
		filters = append(filters, term("id", w.ID))
	}
	return map[string]any{"bool": map[string]any{"filter": filters}}
}

// Matches are the documents that a search has found.
type Matches struct {
	Documents []Document // the one received last first
	More      bool       // there are others
	// Gaps say what was not searched, as operators read it.
	Gaps []string
}

// hit is a document in an answer.
type hit struct {
	Index  string `json:"_index"`
	ID     string `json:"_id"`
	Source struct {
		Tenant     string    `json:"tenant"`
		ID         string    `json:"id"`
		Type       string    `json:"type"`
		Region     string    `json:"region"`
		ReceivedAt time.Time `json:"received_at"`
		IndexedAt  time.Time `json:"indexed_at"`
	} `json:"_source"`
}

func (h hit) document() Document {
	s := h.Source
	return Document{
		Index: h.Index, DocID: h.ID, Tenant: s.Tenant, ID: s.ID, Type: s.Type, Region: s.Region,
		ReceivedAt: s.ReceivedAt, IndexedAt: s.IndexedAt,
	}
}

// headFields are those that a hit is read from.
var headFields = []string{"tenant", "id", "type", "region", "received_at", "indexed_at"}

// Search finds at most so many documents in the telemetry indices, those of the
// canary in its own, but not in the copies of a drill. It finds what a refresh has made visible; see Documents for the
// seconds before.
func (c *Client) Search(ctx context.Context, w Wanted, most int) (Matches, error) {
	states, err := c.Indices(ctx, w.indices())
	if err != nil {
		return Matches{}, err
	}
	body, err := json.Marshal(map[string]any{
		"size": most + 1, "track_total_hits": false, "_source": headFields, "query": w.query(),
		"sort": []any{map[string]any{"received_at": map[string]any{"order": "desc", "unmapped_type": "date"}}},
	})
	if err != nil {
		return Matches{}, fmt.Errorf("encode a search for a record: %w", err)
	}
	var answer struct {
		Shards struct {
			Failed   int
			Failures []struct {
				Index  string
				Reason outcome.Error
			}
		} `json:"_shards"`
		Hits struct{ Hits []hit }
	}
	look := search(w.indices(), body, "hits.hits._index,hits.hits._id,hits.hits._source,_shards.failed,_shards.failures.index,_shards.failures.reason.type")
	look.query["ignore_unavailable"] = "true"
	look.query["allow_partial_search_results"] = "true" // what is out of service is a gap
	if err := c.call(ctx, look, &answer); err != nil {
		return Matches{}, fmt.Errorf("search for a record: %w", missing(err))
	}
	found := Matches{Gaps: closed(states)}
	if answer.Shards.Failed > 0 {
		gap := fmt.Sprintf("%d shards that are out of service", answer.Shards.Failed)
		if failures := answer.Shards.Failures; len(failures) > 0 {
			gap += fmt.Sprintf(", such as one of %s: %s", failures[0].Index, failures[0].Reason.Type)
		}
		found.Gaps = append(found.Gaps, gap)
	}
	for _, h := range answer.Hits.Hits {
		if !isOurs(h.Index) {
			continue
		}
		if found.More = len(found.Documents) == most; found.More {
			break
		}
		found.Documents = append(found.Documents, h.document())
	}
	return found, nil
}

// isOurs reports whether an index is one that records are written to.
func isOurs(name string) bool {
	_, ours := telemetry.ParseIndex(name)
	return ours || telemetry.IsCanary(name)
}

// closed says which indices a search passes over.
func closed(states map[string]State) (gaps []string) {
	var names []string
	for name, state := range states {
		if isOurs(name) && state.Closed {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	const named = 3
	gap := "closed indices: " + strings.Join(names[:min(len(names), named)], ", ")
	if more := len(names) - named; more > 0 {
		gap += fmt.Sprintf(" and %d more", more)
	}
	return []string{gap}
}

// Documents returns those documents that are there. It also finds what is indexed,
// but not visible to a search yet. One whose index is not there, or is closed, is not.
func (c *Client) Documents(ctx context.Context, wanted []sink.Reference) ([]Document, error) {
	body, err := json.Marshal(map[string]any{"docs": wanted})
	if err != nil {
		return nil, fmt.Errorf("encode a look for %d documents: %w", len(wanted), err)
	}
	var answer struct {
		Docs []struct {
			hit
			Found bool          `json:"found"`
			Error outcome.Error `json:"error"`
		} `json:"docs"`
	}
	look := query{"_source_includes": strings.Join(headFields, ","), "filter_path": "docs.found,docs._index,docs._id,docs._source,docs.error.type"}
	if err := c.call(ctx, request{method: http.MethodPost, path: join("_mget"), query: look, body: body}, &answer); err != nil {
		return nil, fmt.Errorf("look for documents: %w", err)
	}
	var found []Document
	var errs []error
	for _, d := range answer.Docs {
		switch d.Error.Type {
		case "":
			if d.Found {
				found = append(found, d.document())
			}
		case "index_not_found_exception", "index_closed_exception":
		default:
			errs = append(errs, fmt.Errorf("look for a document in %s: %s", d.Index, d.Error.Type))
		}
	}
	return found, errors.Join(errs...)
}
