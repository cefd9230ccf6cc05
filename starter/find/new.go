package find

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/ledger"
	"millrace/internal/stream"
)

// New makes a Finder. It makes no call: what is away costs only the answer of its place.
// documents is nil where there is no Elasticsearch.
func New(cfg aws.Config, names config.Resources, documents *index.Client, temporal Temporal) *Finder {
	objects := config.S3(cfg)
	f := &Finder{
		Ledger: ledger.New(archive.Open(objects, names.Bucket), names.Stream), Ingests: temporal, Batches: temporal,
		Name: names.Stream, Backup: archive.Open(objects, names.BackupBucket()).Under(backup.Prefix),
		Stream: once(func(ctx context.Context) (Stream, error) {
			return stream.Open(ctx, kinesis.NewFromConfig(cfg), names.Stream, stream.Settings{})
		}),
	}
	if documents != nil { // else it would be an interface that is not nil
		f.Documents = documents
	}
	return f
}

// once looks until it has found the stream.
func once(look func(context.Context) (Stream, error)) func(context.Context) (Stream, error) {
	var mu sync.Mutex
	var found Stream
	return func(ctx context.Context) (Stream, error) {
		mu.Lock()
		defer mu.Unlock()
		if found != nil {
			return found, nil
		}
		looked, err := look(ctx)
		if err != nil {
			return nil, err
		}
		found = looked
		return found, nil
	}
}
