package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"millrace/deploy/local"
	"millrace/internal/telemetry"
)

const (
	pageSize  = 5000      // documents
	ledgerKey = "ledger/" // what the keys of ledger entries begin with
)

func (s Stores) pattern() string {
	if s.Index != "" {
		return s.Index
	}
	return telemetry.IndexPrefix + "*"
}

// document is one as Elasticsearch has it.
type document struct {
	Index  string          `json:"_index"`
	Source json.RawMessage `json:"_source"`
}

// errPartial says that an index has come or gone while it was read: of another
// tenant, say, whose indices are searched, too.
var errPartial = errors.New("some shards failed: not every document is read")

// mostReads is how often reading is begun anew for that.
const mostReads = 5

// documents reads every document, in no order.
func (s Stores) documents(ctx context.Context, each func(index string, source json.RawMessage) error) error {
	var all []document
	for read := 1; ; read++ {
		var err error
		if all, err = s.search(ctx, all[:0]); err == nil {
			break
		}
		if read == mostReads || !errors.Is(err, errPartial) {
			return err
		}
		// One that has just come is searched when its shards are there. If they do not come, the next read says so.
		_ = s.Ask(ctx, http.MethodGet, "/_cluster/health/"+s.pattern()+"?wait_for_status=yellow&timeout=10s", nil, nil)
	}
	for _, d := range all {
		if err := each(d.Index, d.Source); err != nil {
			return err
		}
	}
	return nil
}

// search refreshes the telemetry indices and appends what is in them.
func (s Stores) search(ctx context.Context, all []document) ([]document, error) {
	if err := s.Ask(ctx, http.MethodPost, "/"+s.pattern()+"/_refresh", nil, nil); err != nil {
		return all, err
	}
	query := map[string]any{"match_all": map[string]any{}}
	if s.Tenant != "" {
		query = map[string]any{"term": map[string]any{"tenant": s.Tenant}}
	}
	var page struct {
		Scroll string               `json:"_scroll_id"`
		Shards struct{ Failed int } `json:"_shards"`
		Hits   struct{ Hits []document }
	}
	request := any(map[string]any{"size": pageSize, "sort": []string{"_doc"}, "query": query})
	for path := "/" + s.pattern() + "/_search?scroll=1m&allow_partial_search_results=false"; ; path = "/_search/scroll" {
		page.Hits.Hits = nil
		if err := s.Ask(ctx, http.MethodPost, path, request, &page); err != nil {
			return all, err
		}
		if page.Shards.Failed > 0 {
			return all, errPartial
		}
		if len(page.Hits.Hits) == 0 {
			// It expires after a minute, or ended with an index that was deleted.
			_ = s.Ask(ctx, http.MethodDelete, "/_search/scroll", map[string]string{"scroll_id": page.Scroll}, nil)
			return all, nil
		}
		all = append(all, page.Hits.Hits...)
		request = map[string]string{"scroll": "1m", "scroll_id": page.Scroll}
	}
}

// Indexed counts the documents that a search would find: a cheap look at how
// far things are, not a verdict.
func (s Stores) Indexed(ctx context.Context) (uint64, error) {
	if err := s.Ask(ctx, http.MethodPost, "/"+s.pattern()+"/_refresh", nil, nil); err != nil {
		return 0, err
	}
	var answer struct{ Count uint64 }
	request := map[string]any{}
	if s.Tenant != "" {
		request["query"] = map[string]any{"term": map[string]any{"tenant": s.Tenant}}
	}
	err := s.Ask(ctx, http.MethodPost, "/"+s.pattern()+"/_count", request, &answer)
	return answer.Count, err
}

// Ask asks Elasticsearch and decodes its answer, unless that is nil. Anything
// but 200 is an error; 503 is errPartial.
func (s Stores) Ask(ctx context.Context, method, path string, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, s.Elasticsearch+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := local.Client.Do(request)
	if err != nil {
		return fmt.Errorf("ask Elasticsearch: %w", err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the answer to %s: %w", path, err)
	}
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%s: %w: %.300s", path, errPartial, got)
	default:
		return fmt.Errorf("%s answered %s: %.300s", path, response.Status, got)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(got, answer); err != nil {
		return fmt.Errorf("decode the answer to %s: %w", path, err)
	}
	return nil
}

// deadRecord is one record of the ledger.
type deadRecord struct {
	identity        // as its payload says
	entry    string // the key of its entry, without its state
	source   string // the workflow that has written it
	cause    string // the type of its error
	payload  []byte // the stream record
}

// deadLetters reads every record of every ledger entry, open or done.
func (s Stores) deadLetters(ctx context.Context, each func(deadRecord)) error {
	return s.objects(ctx, ledgerKey, func(key string, body io.Reader) error {
		if !strings.HasSuffix(key, ".json") {
			return nil
		}
		return s.entry(stateless(key), body, each)
	})
}

// GivenUpBy counts the records that a workflow has written to the ledger, with
// their errors.
func (s Stores) GivenUpBy(ctx context.Context, workflow string) (records int, err error) {
	err = s.deadLetters(ctx, func(g deadRecord) {
		if g.source == workflow && g.cause != "" {
			records++
		}
	})
	return records, err
}

// stateless is the key of a ledger entry without open or done.
func stateless(key string) string {
	_, place, _ := strings.Cut(strings.TrimPrefix(key, ledgerKey), "/")
	return place
}

func (s Stores) entry(key string, body io.Reader, each func(deadRecord)) error {
	var entry struct {
		Source  string
		Records []struct {
			Data  []byte
			Error struct{ Type string }
		}
	}
	if err := json.NewDecoder(body).Decode(&entry); err != nil {
		return fmt.Errorf("decode the entry: %w", err)
	}
	for _, r := range entry.Records {
		// A ledger that forgot the payload has lost the record.
		g := deadRecord{entry: key, source: entry.Source, cause: r.Error.Type, payload: r.Data}
		var err error
		if g.identity, err = identify(r.Data); err != nil || g.ID == "" {
			continue
		}
		if s.Tenant == "" || g.Tenant == s.Tenant {
			each(g)
		}
	}
	return nil
}
