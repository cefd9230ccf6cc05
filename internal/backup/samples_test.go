package backup_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

var (
	start = time.Date(2026, 11, 23, 13, 59, 50, 0, time.UTC)
	shard = backup.Shard{Stream: "telemetry", Created: start, ID: "shardId-000000000000"}
)

// shelf is Objects in memory.
type shelf struct {
	bodies map[string][]byte
	meta   map[string]map[string]string
	broken error // how the connection breaks, in the middle of a body
	listed []string
}

func (s *shelf) List(_ context.Context, prefix string) iter.Seq2[archive.Object, error] {
	s.listed = append(s.listed, prefix)
	return func(yield func(archive.Object, error) bool) {
		var keys []string
		for key := range s.bodies {
			if strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			if !yield(archive.Object{Key: key, Size: int64(len(s.bodies[key]))}, nil) {
				return
			}
		}
	}
}

func (s *shelf) Read(_ context.Context, key string) (io.ReadCloser, archive.Object, error) {
	body, has := s.bodies[key]
	if !has {
		return nil, archive.Object{}, archive.ErrNotFound
	}
	var from io.Reader = bytes.NewReader(body)
	if s.broken != nil {
		from = io.MultiReader(bytes.NewReader(body[:len(body)/2]), iotest.ErrReader(s.broken))
	}
	return io.NopCloser(from), archive.Object{Key: key, Size: int64(len(body)), Meta: s.meta[key]}, nil
}

func (s *shelf) Meta(_ context.Context, key string) (map[string]string, error) {
	return s.meta[key], nil
}

// ours is the n-th record of a collector.
func ours(n int) []byte {
	at := start.Add(time.Duration(n) * time.Second)
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-log-undated", ReceivedAt: at, Tenant: "t", Region: "r", ID: fmt.Sprint(n), Type: "log", Timestamp: at,
	}, fmt.Appendf(nil, `{"n":%d,"text":"a } and a { and a \" and \\","inner":{"doc_id":"x"}}`, n))
}

func packed(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

// readObject reads one object to its end.
func readObject(t testing.TB, s *shelf, key string) (data []string, err error) {
	t.Helper()
	r, err := backup.OpenObject(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		line, err := r.Next()
		if err != nil {
			return data, err
		}
		data = append(data, string(line.Data))
	}
}
