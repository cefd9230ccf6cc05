package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"millrace/bench/store"
	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/backup"
)

// storeName is what the process of the S3 in memory is called.
const storeName = "store"

// startStore starts an S3 in memory.
func (b *bench) startStore(ctx context.Context) (*pipeline.Process, string, error) {
	return b.serve(ctx, storeName, b.store, store.CallsPath)
}

// callsOf returns what was done with the objects of the backup in a bucket.
func callsOf(ctx context.Context, address, bucket string) (calls []store.Call, err error) {
	var all []store.Call
	if err := ask(ctx, address+store.CallsPath+"?bucket="+url.QueryEscape(bucket), &all); err != nil {
		return nil, err
	}
	for _, call := range all {
		if strings.HasPrefix(call.Key, backup.Prefix) {
			calls = append(calls, call)
		}
	}
	return calls, nil
}

// forget removes a bucket with all its objects from the S3 in memory.
func forget(ctx context.Context, address, bucket string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, address+"/"+bucket, nil)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return fmt.Errorf("remove bucket %s: %w", bucket, err)
	}
	return response.Body.Close()
}
