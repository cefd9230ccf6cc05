package filesink

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/outcome"
	"millrace/internal/sink"
)

const (
	// DefaultFileBytes is the size that files grow to: small enough to be moved and
	// compressed one by one.
	DefaultFileBytes = 128 << 20
	// DefaultOpenFiles is more than the indices that live traffic writes to, seven a
	// day, so that files are closed and begun anew only by what comes late.
	DefaultOpenFiles = 32
)

// Settings bound the files of a Sink. A zero field takes its default.
type Settings struct {
	// FileBytes is the size that a file does not exceed, unless the documents of one
	// bulk alone do.
	FileBytes int64
	// OpenFiles is how many files are open at a time, at the most.
	OpenFiles int
}

// Sink writes documents to files. It is safe for concurrent use.
type Sink struct {
	settings Settings
	root     *os.Root // no name leads out of it, nor does a link in it
	host     string
	opened   func(*os.File) handle // what is written to: tests put faults before the file
	now      func() time.Time      // of names

	mu     sync.Mutex
	freed  sync.Cond        // a file is not busy any more, or not open
	files  map[string]*file // by index; those that are open, or being made
	made   uint64           // numbers of files
	uses   uint64
	closed bool
}

// Open returns a sink that writes to files in a directory, which is made if it is not
// there.
func Open(directory string, settings Settings) (*Sink, error) {
	settings.FileBytes = cmp.Or(settings.FileBytes, DefaultFileBytes)
	settings.OpenFiles = cmp.Or(settings.OpenFiles, DefaultOpenFiles)
	if settings.FileBytes < 0 || settings.OpenFiles < 0 {
		return nil, fmt.Errorf("open the file sink: %d bytes and %d open files are no limits", settings.FileBytes, settings.OpenFiles)
	}
	if err := os.MkdirAll(directory, directoryMode); err != nil {
		return nil, fmt.Errorf("make the directory of the file sink: %w", err)
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, fmt.Errorf("open the directory of the file sink: %w", err)
	}
	host, _ := os.Hostname() // files have unique names without it, too
	s := &Sink{
		settings: settings, root: root, host: fileName(host), files: map[string]*file{},
		opened: func(f *os.File) handle { return f }, now: time.Now,
	}
	s.freed.L = &s.mu
	return s, nil
}

// longestHost bounds what a file name has of the host's.
const longestHost = 64

// fileName is a name without what a file's must not have.
func fileName(host string) string {
	host = strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, host)
	return host[:min(len(host), longestHost)]
}

// Do implements sink.Bulker. It writes the documents index by index, so that trouble
// with one index leaves the others alone.
func (s *Sink) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	if b.Len() == 0 {
		return sink.Result{}
	}
	start := time.Now()
	result := s.do(ctx, b)
	result.Took = time.Since(start)
	result.Bytes = b.Size()
	return result
}

func (s *Sink) do(ctx context.Context, b *sink.Bulk) (r sink.Result) {
	if ctx.Err() != nil {
		e := failure(fmt.Errorf("write documents: %w", ctx.Err()))
		return sink.Result{Class: outcomes[e.Type], Error: e}
	}
	all, err := operations(b)
	if err != nil {
		return sink.Result{Class: outcomes[malformedBulk], Error: outcome.Error{Type: malformedBulk, Reason: err.Error()}}
	}
	of := map[string][]int{} // positions, by index
	for at, o := range all {
		if wrong := o.check(); wrong != nil {
			r.Items = append(r.Items, sink.Item{Position: at, Class: outcomes[wrong.Type], Error: *wrong})
			continue
		}
		of[o.Index] = append(of[o.Index], at)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for index, positions := range of {
		err := s.write(index, all, positions, buffer)
		if err == nil {
			continue
		}
		e := failure(err)
		r.Overloaded = r.Overloaded || overload[e.Type]
		for _, at := range positions {
			r.Items = append(r.Items, sink.Item{Position: at, Class: outcomes[e.Type], Error: e, IndexAlone: indexAlone[e.Type]})
		}
	}
	slices.SortFunc(r.Items, func(a, b sink.Item) int { return a.Position - b.Position })
	return r
}

// buffers keep the memory of lines.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// write writes documents of one index, all of them or none.
func (s *Sink) write(index string, all []operation, positions []int, buffer *[]byte) (err error) {
	lines := (*buffer)[:0]
	for _, at := range positions {
		if lines, err = all[at].appendLine(lines); err != nil {
			return err
		}
	}
	*buffer = lines
	f, err := s.take(index, int64(len(lines)))
	if err != nil {
		return err
	}
	defer s.give(index, f)
	if err := f.append(lines); err != nil {
		return err
	}
	// A job that deletes old files may take one that is written to. Its lines would be
	// gone though they were answered for.
	if there, err := s.root.Stat(f.name); err != nil || !os.SameFile(there, f.is) {
		f.broken = true
		return fmt.Errorf("write to %s: %w", f.name, errRemoved)
	}
	return nil
}

// Find implements sink.Lookup: no document is found, since no file is read. A record
// that was sent again after its index has changed is written again.
func (s *Sink) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	return make([]sink.Found, len(documents)), nil
}

// Exist is Find without digests: no document is found.
func (s *Sink) Exist(_ context.Context, documents []sink.Reference) ([]bool, error) {
	return make([]bool, len(documents)), nil
}

// Ready reports whether a file can be made.
func (s *Sink) Ready(context.Context) error {
	s.mu.Lock()
	s.made++
	name := fmt.Sprintf(".ready-%s-%d-%d", s.host, os.Getpid(), s.made)
	s.mu.Unlock()
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE, fileMode)
	if err != nil {
		return fmt.Errorf("make a file in the directory of the file sink: %w", err)
	}
	f.Close()
	if err := s.root.Remove(name); err != nil {
		return fmt.Errorf("remove a file from the directory of the file sink: %w", err)
	}
	return nil
}

// Close waits for bulks in flight and closes all files. It refuses later calls.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for len(s.files) > 0 {
		if !s.evict() {
			s.freed.Wait()
		}
	}
	if err := s.root.Close(); err != nil {
		return fmt.Errorf("close the directory of the file sink: %w", err)
	}
	return nil
}
