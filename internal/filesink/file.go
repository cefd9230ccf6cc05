package filesink

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

const (
	// Telemetry is not for everyone on the machine. A group may read it.
	directoryMode, fileMode = 0o750, 0o640

	// timeLayout begins the names of files, so that they sort by age.
	timeLayout = "20060102T150405.000Z"

	// firstLine is empty, and parsers of NDJSON skip it. cat, jq and others join files
	// without a newline between them: a torn line at the end of one would swallow the
	// first document of the next.
	firstLine = "\n"
)

// handle is an open file.
type handle interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// file is one that documents of an index are appended to.
type file struct {
	handle
	name string // in the root
	is   fs.FileInfo
	size int64 // of what is on the disk and was answered for
	// broken: what the file holds behind size is not known, so that nothing may follow.
	broken bool
	busy   bool   // one call has it, and only that call touches the other fields
	used   uint64 // when it was given back
}

// append writes lines and waits until they are on the disk. After an error none of
// them counts.
func (f *file) append(lines []byte) error {
	if _, err := f.Write(lines); err != nil {
		// A full disk takes a part of it. That part must not stay: a line would follow it.
		if cut := f.Truncate(f.size); cut != nil {
			f.broken = true
			err = errors.Join(err, fmt.Errorf("take a part back: %w", cut))
		}
		return fmt.Errorf("write to %s: %w", f.name, err)
	}
	if err := f.Sync(); err != nil {
		// The system reports it once and may have dropped the bytes, so that another
		// Sync would succeed without them (fsync(2), "Notes").
		f.broken = true
		_ = f.Truncate(f.size) // else lines are there twice, which is allowed
		return fmt.Errorf("sync %s: %w", f.name, err)
	}
	f.size += int64(len(lines))
	return nil
}

// take returns the open file of an index with room for so many bytes, for one caller
// alone, who gives it back. It makes one where there is none.
func (s *Sink) take(index string, bytes int64) (*file, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		f := s.files[index]
		switch {
		case s.closed:
			return nil, fmt.Errorf("take a file of %s: %w", index, errClosed)
		case f != nil && f.busy:
			s.freed.Wait()
		case f != nil && f.size > int64(len(firstLine)) && f.size+bytes > s.settings.FileBytes:
			s.close(index, f)
		case f != nil:
			f.busy = true
			return f, nil
		case len(s.files) < s.settings.OpenFiles:
			return s.make(index)
		case !s.evict():
			s.freed.Wait() // all are written to
		}
	}
}

// give gives a file back.
func (s *Sink) give(index string, f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses++
	f.busy, f.used = false, s.uses
	if f.broken {
		s.close(index, f)
	}
	s.freed.Broadcast()
}

// evict closes the file that has not been written to for longest; false if all are
// written to now.
func (s *Sink) evict() bool {
	var oldest *file
	var of string
	for index, f := range s.files {
		if !f.busy && (oldest == nil || f.used < oldest.used) {
			oldest, of = f, index
		}
	}
	if oldest == nil {
		return false
	}
	s.close(of, oldest)
	return true
}

// close closes a file for good: the next one has another name. All that counts of it
// is on the disk.
func (s *Sink) close(index string, f *file) {
	_ = f.Close()
	delete(s.files, index)
	s.freed.Broadcast()
}

// make makes the next file of an index, without the lock: a disk may be slow, and
// other files are written to meanwhile.
func (s *Sink) make(index string) (*file, error) {
	f := &file{busy: true}
	s.files[index] = f // holds the place
	s.mu.Unlock()
	err := s.create(index, f)
	s.mu.Lock()
	if err != nil {
		delete(s.files, index)
		s.freed.Broadcast()
		return nil, err
	}
	return f, nil
}

// create creates a file under a name that no other has: containers share host names
// and process ids, and a file that is there may end in a torn line.
func (s *Sink) create(index string, f *file) error {
	if err := s.root.Mkdir(index, directoryMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a directory for %s: %w", index, err)
	}
	var opened *os.File
	for opened == nil {
		s.mu.Lock()
		s.made++
		number := s.made
		s.mu.Unlock()
		f.name = path.Join(index, fmt.Sprintf("%s-%s-%d-%d.ndjson", s.now().UTC().Format(timeLayout), s.host, os.Getpid(), number))
		var err error
		opened, err = s.root.OpenFile(f.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, fileMode)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make a file: %w", err)
		}
	}
	f.handle = s.opened(opened)
	if err := s.begin(index, f, opened); err != nil {
		_ = f.Close()
		_ = s.root.Remove(f.name) // no document is in it
		return fmt.Errorf("begin %s: %w", f.name, err)
	}
	return nil
}

// begin writes what a file begins with, and sees its name on the disk: after a crash
// the lines alone would be of no use. The directory may be new as well, also where an
// earlier attempt made it.
func (s *Sink) begin(index string, f *file, opened *os.File) (err error) {
	if f.is, err = opened.Stat(); err != nil {
		return fmt.Errorf("describe it: %w", err)
	}
	if err := f.append([]byte(firstLine)); err != nil {
		return err
	}
	if err := s.syncDirectory(index); err != nil {
		return err
	}
	return s.syncDirectory(".")
}

func (s *Sink) syncDirectory(name string) error {
	directory, err := s.root.Open(name)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", name, err)
	}
	defer directory.Close()
	if err := directory.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", name, err)
	}
	return nil
}
