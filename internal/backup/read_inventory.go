package backup

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // it is what S3 writes into the manifest, against damage and not against people
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/parquet-go/parquet-go"

	"millrace/internal/archive"
)

// inventoryAge is how long S3 may take to notice an object: an inventory is
// complete about what is that much older than it (S3 user guide, 'Amazon S3
// Inventory consistency': at least every 48 hours).
const inventoryAge = 2 * day

// mostInventoryFile bounds in bytes a file of an inventory.
const mostInventoryFile = 1 << 30

// Inventory is the list of a bucket's objects that S3 Inventory wrote, of those
// of them that a window may want: about 150 bytes each. Days that it does not
// know completely are listed. It is Objects, as the bucket is.
type Inventory struct {
	Objects
	until   time.Time // days before this one are known
	objects []archive.Object
}

// manifest is manifest.json of S3 Inventory.
type manifest struct {
	SourceBucket string `json:"sourceBucket"`
	FileFormat   string `json:"fileFormat"`
	FileSchema   string `json:"fileSchema"`
	Created      string `json:"creationTimestamp"` // milliseconds
	Files        []struct {
		Key string `json:"key"`
		MD5 string `json:"MD5checksum"`
	} `json:"files"`
}

// InventoryError says that an inventory is not to be used: it is not there, or
// not what it should be, and to read it again does not help.
type InventoryError struct{ Err error }

// Error says what is wrong with it.
func (i *InventoryError) Error() string { return i.Err.Error() }

// Unwrap returns what is wrong with it.
func (i *InventoryError) Unwrap() error { return i.Err }

// unreadError says that an inventory could not be read this time.
type unreadError struct{ error }

func (u unreadError) Unwrap() error { return u.error }

// OpenInventory reads an inventory. where is the bucket that it was written to,
// key that of its manifest.json, source the name of the bucket that it is about,
// prefix that of the backup there. Hours from on are read; store, which is
// below that prefix, has the rest. The error is an *InventoryError where no
// retry helps.
func OpenInventory(ctx context.Context, where Objects, key, source, prefix string, from time.Time, store Objects) (*Inventory, error) {
	i, err := openInventory(ctx, where, key, source, prefix, from, store)
	var unread unreadError
	if err != nil && !errors.As(err, &unread) {
		err = &InventoryError{err}
	}
	return i, err
}

func openInventory(ctx context.Context, where Objects, key, source, prefix string, from time.Time, store Objects) (*Inventory, error) {
	text, err := readAll(ctx, where, key)
	if err != nil {
		return nil, fmt.Errorf("read the inventory's manifest: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read the inventory's manifest %s: %w", key, err)
	}
	millis, err := strconv.ParseInt(m.Created, 10, 64)
	if err != nil || len(m.Files) == 0 {
		return nil, fmt.Errorf("read the inventory's manifest %s: it is not one of S3 Inventory's", key)
	}
	if m.SourceBucket != source {
		return nil, fmt.Errorf("read the inventory's manifest %s: it is about bucket %s, not %s", key, m.SourceBucket, source)
	}
	i := &Inventory{Objects: store, until: time.UnixMilli(millis).Add(-inventoryAge).UTC().Truncate(day)}
	keep := func(key string, size int64) {
		key, below := strings.CutPrefix(key, prefix)
		object := archive.Object{Key: key, Size: size}
		if known, ok := parse(object); below && ok && known.hour.Before(i.until) && !known.hour.Before(from.Truncate(time.Hour)) {
			i.objects = append(i.objects, object)
		}
	}
	for _, file := range m.Files {
		if err := m.read(ctx, where, file.Key, file.MD5, keep); err != nil {
			return nil, fmt.Errorf("read %s of the inventory: %w", file.Key, err)
		}
	}
	slices.SortFunc(i.objects, func(a, b archive.Object) int { return strings.Compare(a.Key, b.Key) })
	i.objects = slices.CompactFunc(i.objects, func(a, b archive.Object) bool { return a.Key == b.Key }) // versions
	return i, nil
}

func readAll(ctx context.Context, where Objects, key string) ([]byte, error) {
	body, object, err := where.Read(ctx, key)
	if errors.Is(err, archive.ErrNotFound) || archive.Refused(err) {
		return nil, err
	}
	if err != nil {
		return nil, unreadError{err}
	}
	defer body.Close()
	if object.Size > mostInventoryFile {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", key, object.Size, mostInventoryFile)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, unreadError{err}
	}
	return text, nil
}

func (m manifest) read(ctx context.Context, where Objects, key, sum string, keep func(key string, size int64)) error {
	text, err := readAll(ctx, where, key)
	if err != nil {
		return err
	}
	if got := md5.Sum(text); sum != "" && !strings.EqualFold(hex.EncodeToString(got[:]), sum) { //nolint:gosec // see above
		return errors.New("it does not have the checksum that the manifest says")
	}
	switch m.FileFormat {
	case "CSV":
		return m.readCSV(text, keep)
	case "Parquet":
		return readParquet(text, keep)
	}
	return fmt.Errorf("its format is %q: let the inventory be written as CSV or Parquet", m.FileFormat)
}

// readCSV reads a compressed CSV file without a header: the manifest has it.
// Keys are URL-encoded.
func (m manifest) readCSV(text []byte, keep func(key string, size int64)) error {
	column := map[string]int{}
	for n, name := range strings.Split(m.FileSchema, ",") {
		column[strings.TrimSpace(name)] = n
	}
	if _, has := column["Key"]; !has {
		return fmt.Errorf("its columns are %q, without Key", m.FileSchema)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return err
	}
	rows := csv.NewReader(unpacked)
	rows.ReuseRecord, rows.FieldsPerRecord = true, len(column)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		field := func(name string) string {
			if at, has := column[name]; has {
				return row[at]
			}
			return ""
		}
		if field("IsDeleteMarker") == "true" || field("IsLatest") == "false" {
			continue
		}
		key, err := url.QueryUnescape(field("Key"))
		if err != nil {
			return fmt.Errorf("decode a key: %w", err)
		}
		size, _ := strconv.ParseInt(field("Size"), 10, 64) // an estimate, and optional
		keep(key, size)
	}
}

// inventoryRow has the columns of a Parquet file that matter here.
type inventoryRow struct {
	Key            string `parquet:"key"`
	Size           *int64 `parquet:"size,optional"`
	IsLatest       *bool  `parquet:"is_latest,optional"`
	IsDeleteMarker *bool  `parquet:"is_delete_marker,optional"`
}

func readParquet(text []byte, keep func(key string, size int64)) (err error) {
	defer func() { // the library does so on what it cannot make sense of
		if reason := recover(); reason != nil {
			err = fmt.Errorf("it is not Parquet of S3 Inventory: %v", reason)
		}
	}()
	file, err := parquet.OpenFile(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return err
	}
	rows := parquet.NewGenericReader[inventoryRow](file)
	defer func() { _ = rows.Close() }() // it was only read
	batch := make([]inventoryRow, 1000)
	for {
		clear(batch)
		n, err := rows.Read(batch)
		for _, row := range batch[:n] {
			if row.IsDeleteMarker != nil && *row.IsDeleteMarker || row.IsLatest != nil && !*row.IsLatest {
				continue
			}
			var size int64
			if row.Size != nil {
				size = *row.Size
			}
			keep(row.Key, size)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// List yields what the inventory knows of a day, or lists it.
func (i *Inventory) List(ctx context.Context, prefix string) iter.Seq2[archive.Object, error] {
	var at time.Time
	for _, layout := range []string{"dt=2006-01-02/", "2006/01/02/"} {
		if day, err := time.Parse(layout, prefix); err == nil {
			at = day
		}
	}
	if at.IsZero() || !at.Before(i.until) {
		return i.Objects.List(ctx, prefix)
	}
	return func(yield func(archive.Object, error) bool) {
		from, _ := slices.BinarySearchFunc(i.objects, prefix, func(o archive.Object, p string) int { return strings.Compare(o.Key, p) })
		for _, o := range i.objects[from:] {
			if !strings.HasPrefix(o.Key, prefix) || !yield(o, nil) {
				return
			}
		}
	}
}
