// Package cluster gives tests a real Elasticsearch, and a bucket for what is said of it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// Real is a real Elasticsearch and a real bucket, with indices of a test's own.
type Real struct {
	*testing.T
	Kind     string // of the records in its indices; also the name of its bucket
	Patterns []string
	Client   *index.Client
	Objects  *archive.Bucket
	url      string
}

// New sets it up on the local stack. When the test ends, it deletes the indices, the
// objects and a repository of the name Kind.
func New(t *testing.T) *Real {
	t.Helper()
	kind := localtest.Name(t, "")
	r := &Real{T: t, Kind: kind, Patterns: []string{telemetry.IndexPrefix + kind + "-*"}, url: localtest.Elasticsearch(t)}
	var err error
	r.Client, err = index.Open(index.Settings{URLs: []string{r.url}})
	if err == nil {
		err = r.Client.Setup(t.Context(), index.Layout{Shards: 1})
	}
	if err != nil {
		t.Fatal(err)
	}
	objects := s3.NewFromConfig(localtest.AWS(t), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := archive.Create(t.Context(), objects, kind); err != nil {
		t.Fatal(err)
	}
	r.Objects = archive.Open(objects, kind)
	t.Cleanup(r.clean)
	return r
}

func (r *Real) clean() {
	ctx := context.WithoutCancel(r.Context())
	states, err := r.Client.Indices(ctx, r.Patterns...)
	for _, name := range index.Names(states) {
		err = errors.Join(err, r.Client.DeleteIndex(ctx, name))
	}
	_ = r.Client.RemoveRepository(ctx, r.Kind) // not every test has one
	for key, e := range r.Objects.Keys(ctx, "") {
		err = errors.Join(err, e, r.Objects.Delete(ctx, key))
	}
	if err != nil {
		r.Error(err)
	}
}

// HTTP speaks with Elasticsearch past our client.
func (r *Real) HTTP(method, path, body string) {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := localtest.Client(r).Do(request)
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	if answer, _ := io.ReadAll(response.Body); response.StatusCode >= http.StatusMultipleChoices {
		r.Fatalf("%s %s: %s", method, path, answer)
	}
}

// Index names an index of a day.
func (r *Real) Index(day string) string { return telemetry.IndexPrefix + r.Kind + "-" + day }

// Fill puts documents into an index.
func (r *Real) Fill(index string, documents int) {
	r.Helper()
	r.FillAt(index, documents, time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC))
}

// FillAt puts documents into an index that were received then, and indexed a
// second later.
func (r *Real) FillAt(index string, documents int, received time.Time) {
	r.Helper()
	for range documents {
		r.HTTP(http.MethodPost, "/"+index+"/_doc", fmt.Sprintf(`{"@timestamp":"2026-11-23T00:00:00Z","received_at":%q,"indexed_at":%q}`,
			received.UTC().Format(telemetry.ReceivedAtLayout), received.UTC().Add(time.Second).Format(telemetry.ReceivedAtLayout)))
	}
}
