package recovery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"millrace/internal/index"
	"millrace/internal/ledger"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

func (p *pipeline) states() map[string]index.State {
	states, err := p.documents.Indices(context.WithoutCancel(p.t.Context()), p.indices+"*")
	if err != nil {
		p.t.Fatal(err)
	}
	return states
}

// ids are those in the indices that end so, each with how often it is there.
func (p *pipeline) ids(suffix string) map[string]int {
	p.t.Helper()
	p.must(p.documents.Refresh(p.t.Context(), p.indices+"*"))
	found := map[string]int{}
	for name := range p.states() {
		if strings.HasSuffix(name, suffix) && (suffix != "" || strings.Count(name, "-") == 2) {
			p.scan(name, found)
		}
	}
	return found
}

// scan reads the ids of an index.
func (p *pipeline) scan(name string, found map[string]int) {
	after := ""
	for {
		body := `{"size":5000,"_source":["id"],"sort":["id"],"query":{"match_all":{}}` + after + `}`
		request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+"/"+name+"/_search", strings.NewReader(body))
		p.must(err)
		request.Header.Set("Content-Type", "application/json")
		response, err := p.http.Do(request)
		p.must(err)
		text, err := io.ReadAll(response.Body)
		p.must(err)
		response.Body.Close()
		if response.StatusCode == http.StatusServiceUnavailable { // the index is just being made
			<-time.After(100 * time.Millisecond)
			continue
		}
		var answer struct {
			Hits struct {
				Hits []struct {
					Source struct{ ID string } `json:"_source"`
				}
			}
		}
		if err := json.Unmarshal(text, &answer); err != nil || response.StatusCode != http.StatusOK {
			p.t.Fatalf("search %s: %s: %s", name, response.Status, text)
		}
		if len(answer.Hits.Hits) == 0 {
			return
		}
		for _, hit := range answer.Hits.Hits {
			found[hit.Source.ID]++
			after = fmt.Sprintf(`,"search_after":[%q]`, hit.Source.ID)
		}
	}
}

// ask speaks with Elasticsearch past our client.
func (p *pipeline) ask(method, path, body string, into any) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	p.must(err)
	request.Header.Set("Content-Type", "application/json")
	response, err := p.http.Do(request)
	p.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	p.must(err)
	if response.StatusCode != http.StatusOK {
		p.t.Fatalf("%s %s: %s: %s", method, path, response.Status, text)
	}
	p.must(json.Unmarshal(text, into))
}

// indexed waits until each good record is there.
func (p *pipeline) indexed() {
	p.t.Helper()
	p.follow("the records to be indexed", func() (string, bool) {
		n := len(p.ids(""))
		return fmt.Sprintf("%d of %d", n, len(p.sent)), n >= len(p.sent)
	})
}

// passed waits until the checkpoints have passed what was sent, by the word of
// the shards: what a snapshot's window begins with.
func (p *pipeline) passed() {
	p.t.Helper()
	sent := time.Now()
	shards, err := p.Stream.Shards(p.t.Context())
	p.must(err)
	for _, shard := range shards {
		p.await("the checkpoint of "+shard.ID, func() bool {
			at, known, err := p.launcher.Reached(p.t.Context(), p.StreamID(), shard.ID)
			p.must(err)
			return known && !at.ReadUpTo.Before(sent)
		})
	}
}

// complete asserts that each good record is there once, and each bad one in the
// ledger.
func (p *pipeline) complete() {
	p.t.Helper()
	found := p.ids("")
	lost := 0
	for id := range p.sent {
		if found[id] != 1 {
			if lost++; lost < 5 {
				p.t.Errorf("%s is there %d times", id, found[id])
			}
		}
	}
	if lost > 0 {
		p.t.Errorf("%d of %d records are not there once", lost, len(p.sent))
	}
	dead := p.dead()
	for id := range p.bad {
		if dead[id] != 1 {
			p.t.Errorf("%s is in the ledger %d times", id, dead[id])
		}
	}
}

// dead are the ids in the open ledger.
func (p *pipeline) dead() map[string]int {
	found := map[string]int{}
	for key, err := range p.Ledger.List(p.t.Context(), ledger.Filter{}) {
		p.must(err)
		entry, err := p.Ledger.Get(p.t.Context(), key)
		p.must(err)
		for _, r := range entry.Records {
			found[r.ID]++
		}
	}
	return found
}

// stored are the records of the stream, those of one shard behind those of another.
func (p *pipeline) stored() (records []stream.Record) {
	p.t.Helper()
	shards, err := p.Stream.Shards(p.t.Context())
	p.must(err)
	for _, shard := range shards {
		records = append(records, p.storedIn(shard.ID)...)
	}
	return records
}

// storedIn are the records of a shard.
func (p *pipeline) storedIn(shard string) (records []stream.Record) {
	p.t.Helper()
	reader := p.read.Reader(shard, telemetry.Checkpoint{})
	defer reader.Close()
	for empty := 0; empty < 3; {
		page, err := reader.Next(p.t.Context())
		p.must(err)
		if len(page.Records) == 0 {
			empty++
		}
		for _, r := range page.Records {
			r.Data = bytes.Clone(r.Data)
			records = append(records, r)
		}
	}
	return records
}
