package backup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/klauspost/compress/gzip"

	"millrace/internal/archive"
)

// Objects are where a backup lies. See archive.Bucket.
type Objects interface {
	// List yields the objects whose keys begin with a prefix, in order.
	List(ctx context.Context, prefix string) iter.Seq2[archive.Object, error]
	Read(ctx context.Context, key string) (io.ReadCloser, archive.Object, error)
}

// Line is a record of a backup. Of Firehose's objects only Data is known.
type Line struct {
	Shard string
	Record
}

// DamageError says that an object is corrupt, truncated or withheld: what was read
// of it by then is good, and the rest is not to be had.
type DamageError struct {
	Key string
	Err error
}

// Error names the object.
func (d *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", d.Key, d.Err) }

// Unwrap returns what is wrong with it.
func (d *DamageError) Unwrap() error { return d.Err }

// Reader reads the records of one object, ours or Firehose's: compressed or
// not, of one gzip member or several, with or without a delimiter between
// documents. It holds readerBytes, roomBytes and one record at the most.
type Reader struct {
	key      string
	network  *network
	splitter *splitter
	parser   parser
	damage   error // of the object as such
	count    int   // records that it has by its own word; zero: it does not say
	read     int   // records of our form
}

// readerBytes is what reading ahead takes.
const readerBytes = 64 << 10

var errEmpty = errors.New("it is empty")

// OpenObject opens an object. The error is archive.ErrNotFound where there is
// none. One that is withheld is as good as damaged from its beginning on.
func OpenObject(ctx context.Context, store Objects, key string) (*Reader, error) {
	body, object, err := store.Read(ctx, key)
	if errors.Is(err, archive.ErrWithheld) {
		return &Reader{key: key, network: &network{ReadCloser: io.NopCloser(bytes.NewReader(nil))}, damage: err}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open backup object: %w", err)
	}
	r := &Reader{key: key, network: &network{ReadCloser: body}}
	if meta, err := ParseMeta(object.Meta); err == nil {
		r.count = meta.Count
	}
	if object.Size == 0 {
		r.damage = errEmpty
		return r, nil
	}
	raw := bufio.NewReaderSize(r.network, readerBytes)
	var text io.Reader = raw
	if magic, _ := raw.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(raw) // of all members
		if err != nil {
			r.damage = err
			return r, nil
		}
		text = unpacked
	}
	r.splitter = &splitter{source: text}
	return r, nil
}

// Next returns the next record, which is the caller's. At the end the error is
// io.EOF, or a *DamageError, also where the object has fewer records than it says;
// any other means that the object could not be read this time. What is none of
// ours comes as it is, since Firehose writes what it finds: telemetry.Parse tells.
// In an object that counts its records it is damage.
func (r *Reader) Next() (Line, error) {
	for {
		document, err := r.document()
		if err != nil {
			return Line{}, err
		}
		if bytes.HasPrefix(document, []byte(keyShard)) {
			if shard, record, err := r.parser.parse(document); err == nil {
				r.read++
				return Line{shard, record}, nil
			}
		}
		if r.count == 0 {
			return Line{Record: Record{Data: bytes.Clone(document)}}, nil
		}
	}
}

// document returns the text of the next record, or how the object ends.
func (r *Reader) document() (document []byte, err error) {
	if err = r.damage; err == nil {
		document, err = r.splitter.next()
	}
	switch {
	case err == nil:
		return document, nil
	case r.network.err != nil:
		return nil, fmt.Errorf("read backup object %s: %w", r.key, r.network.err)
	case !errors.Is(err, io.EOF):
		return nil, &DamageError{r.key, err}
	case r.read < r.count:
		// It was cut between two records, where nothing else shows it.
		return nil, &DamageError{r.key, fmt.Errorf("it has %d records, and says that it has %d", r.read, r.count)}
	}
	return nil, io.EOF
}

// Close ends reading, also in the middle.
func (r *Reader) Close() { _ = r.network.Close() }

// network remembers how reading from the store failed, to tell a connection
// that broke from an object that is damaged.
type network struct {
	io.ReadCloser
	err error
}

// Read reads.
func (n *network) Read(p []byte) (int, error) {
	got, err := n.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return got, err
}
