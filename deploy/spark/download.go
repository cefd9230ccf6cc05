package spark

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"millrace/internal/archive"
)

// Download copies the objects of a backup into a folder, those whose keys begin
// with a prefix: "dt=" for all of BackupStream's, "dt=2026-11-23/" for a day.
// bucket is the part of the bucket in which the backup lies.
func Download(ctx context.Context, bucket *archive.Bucket, prefix, dir string) (objects, size int64, err error) {
	for object, err := range bucket.List(ctx, prefix) {
		if err != nil {
			return objects, size, err
		}
		if !strings.HasPrefix(object.Key, "dt=") || !filepath.IsLocal(object.Key) {
			continue
		}
		if err := download(ctx, bucket, object.Key, filepath.Join(dir, filepath.FromSlash(object.Key))); err != nil {
			return objects, size, fmt.Errorf("download %s: %w", object.Key, err)
		}
		objects, size = objects+1, size+object.Size
	}
	return objects, size, nil
}

func download(ctx context.Context, bucket *archive.Bucket, key, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	body, _, err := bucket.Read(ctx, key)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, body); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
