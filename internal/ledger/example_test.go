package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// folder is a Store on a disk, where an object is a file.
type folder string

func (f folder) path(key string) string { return filepath.Join(string(f), filepath.FromSlash(key)) }

func (f folder) write(key string, body []byte, flags int) error {
	if err := os.MkdirAll(filepath.Dir(f.path(key)), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path(key), os.O_WRONLY|os.O_CREATE|flags, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	return errors.Join(err, file.Close())
}

func (f folder) PutNew(_ context.Context, key string, body []byte, _ map[string]string) (created bool, err error) {
	err = f.write(key, body, os.O_EXCL)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

func (f folder) Put(_ context.Context, key string, body []byte) error {
	return f.write(key, body, os.O_TRUNC)
}

func (f folder) Get(_ context.Context, key string) ([]byte, error) { return os.ReadFile(f.path(key)) }

func (f folder) GetRange(ctx context.Context, key string, from, length int64) ([]byte, error) {
	body, err := f.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return body[from : from+length], nil
}

func (f folder) Delete(_ context.Context, key string) error {
	if err := os.Remove(f.path(key)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f folder) Keys(_ context.Context, prefix string) iter.Seq2[string, error] {
	var keys []string
	err := fs.WalkDir(os.DirFS(string(f)), ".", func(key string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
		return err
	})
	slices.Sort(keys)
	return func(yield func(string, error) bool) {
		for _, key := range keys {
			if !yield(key, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

// A worker writes a rejected record once, even if another one does so, too, and an operator resolves its entry.
func Example() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "ledger")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(root) }()
	entries := ledger.New(folder(root), "telemetry")
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

	record := ledger.NewRecord([]byte(`{"duration":"long"}`), outcome.Error{
		Type: "document_parsing_exception", Reason: "failed to parse field [duration]", Status: 400,
	})
	record.Sequence, record.Arrived = "4959", at
	entry := ledger.Entry{
		Kind: ledger.Bulk, At: at, Records: []ledger.Record{record},
		Range: telemetry.Range{StreamCreated: at, Shard: "shardId-000000000003", First: "4959", Last: "4959", Count: 1},
	}
	for range 2 { // the second attempt finds the entry
		if _, err := entries.Add(ctx, entry); err != nil {
			panic(err)
		}
	}
	for key, err := range entries.List(ctx, ledger.Filter{}) {
		if err != nil {
			panic(err)
		}
		open, err := entries.Get(ctx, key)
		fmt.Println(key, err)
		fmt.Println(open.Records[0].Error.Type, string(open.Records[0].Data))
		fmt.Println("resolved:", entries.Resolve(ctx, key, ledger.Resolution{How: "indexed", By: "operator", At: at}))
	}
	for key, err := range entries.List(ctx, ledger.Filter{Done: true}) {
		fmt.Println(key, err)
	}

	// Output:
	// ledger/open/telemetry/shardId-000000000003/4959-4959.1795395723.json <nil>
	// document_parsing_exception {"duration":"long"}
	// resolved: <nil>
	// ledger/done/telemetry/shardId-000000000003/4959-4959.1795395723.json <nil>
}
