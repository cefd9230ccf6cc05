package filesink

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/internal/outcome"
)

// faulty is a file on a disk that fails: no disk can be made to, by a test.
type faulty struct {
	*os.File
	write, sync, cut error // what to answer, once each
	closed           func()
}

func (f *faulty) Write(b []byte) (int, error) {
	if err := take(&f.write); err != nil {
		n, _ := f.File.Write(b[:2*len(b)/3]) // as a full disk does
		return n, err
	}
	return f.File.Write(b)
}

func (f *faulty) Sync() error {
	if err := take(&f.sync); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faulty) Truncate(size int64) error {
	if err := take(&f.cut); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faulty) Close() error {
	if f.closed != nil {
		f.closed()
	}
	return f.File.Close()
}

func take(err *error) error {
	taken := *err
	*err = nil
	return taken
}

func canceledContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// Every failure leaves the documents out, is transient, and is over when the disk is
// well again: in the same file where that can be trusted, else in another.
func TestFailingDisksLoseNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		fail  func(*faulty)
		kind  string
		files int
		torn  int
	}{
		"full":           {func(f *faulty) { f.write = syscall.ENOSPC }, noSpace, 1, 0},
		"quota":          {func(f *faulty) { f.write = syscall.EDQUOT }, quotaExceeded, 1, 0},
		"unknown":        {func(f *faulty) { f.write = broken }, otherFailure, 1, 0},
		"full for good":  {func(f *faulty) { f.write, f.cut = syscall.ENOSPC, syscall.EIO }, noSpace, 2, 1},
		"not synced":     {func(f *faulty) { f.sync = syscall.EIO }, ioError, 2, 0},
		"read-only":      {func(f *faulty) { f.sync, f.cut = syscall.EROFS, syscall.EROFS }, readOnly, 2, 0},
		"stale, of NFS":  {func(f *faulty) { f.write, f.cut = syscall.ESTALE, syscall.ESTALE }, staleHandle, 2, 1},
		"beyond a limit": {func(f *faulty) { f.write = syscall.EFBIG }, fileTooLarge, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir, Settings{})
			var last *faulty
			s.opened = func(f *os.File) handle { last = &faulty{File: f}; return last }
			fine(t, s.Do(t.Context(), bulk(spans, "a", "b")))
			c.fail(last)
			failing := bulk(spans, "c", "d")
			add(failing, logs, "e", `{}`)
			r := s.Do(t.Context(), failing)
			if r.Class != outcome.Indexed || r.Overloaded || len(r.Items) != 2 {
				t.Fatalf("the result is %+v", r)
			}
			for at, item := range r.Items {
				if item.Position != at || item.Class != outcome.Transient || item.Error.Type != c.kind || item.IndexAlone {
					t.Errorf("an item is %+v", item)
				}
			}
			fine(t, s.Do(t.Context(), bulk(spans, "c", "d")))
			lines, torn := read(t, dir)
			got := ids(lines, spans)
			if slices.Sort(got); !slices.Equal(slices.Compact(slices.Clone(got)), []string{"a", "b", "c", "d"}) || torn != c.torn {
				t.Errorf("the lines are of %v, %d torn", got, torn)
			}
			if len(ids(lines, logs)) != 1 {
				t.Errorf("the other index has %v", ids(lines, logs))
			}
			if all, err := filepath.Glob(filepath.Join(dir, spans, "*")); err != nil || len(all) != c.files {
				t.Errorf("the files are %v", all)
			}
		})
	}
}

func TestFilesThatCannotBeBegunAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Settings{})
	s.opened = func(f *os.File) handle { return &faulty{File: f, write: syscall.ENOSPC} }
	for range 3 {
		if r := s.Do(t.Context(), bulk(spans, "a")); len(r.Items) != 1 || r.Items[0].Error.Type != noSpace {
			t.Errorf("the result is %+v", r)
		}
	}
	if all := files(t, dir); len(all) > 0 {
		t.Errorf("there are %v", all)
	}
}

// With the name of an index taken, that index alone waits.
func TestIndexWithoutDirectoryWaitsAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Settings{})
	inTheWay := filepath.Join(dir, spans)
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	both := bulk(spans, "a")
	add(both, logs, "b", `{}`)
	r := s.Do(t.Context(), both)
	if len(r.Items) != 1 || r.Items[0].Position != 0 || r.Items[0].Class != outcome.Transient || r.Items[0].Error.Type != notADirectory || !r.Items[0].IndexAlone {
		t.Errorf("the result is %+v", r)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	fine(t, s.Do(t.Context(), bulk(spans, "a")))
	if lines, _ := read(t, dir); len(lines) != 2 {
		t.Errorf("the lines are %+v", lines)
	}
}

func TestMissingDirectoryIsTransient(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sink")
	s := open(t, dir, Settings{})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if r := s.Do(t.Context(), bulk(spans, "a")); len(r.Items) != 1 || r.Items[0].Class != outcome.Transient || r.Items[0].Error.Type != notFound {
		t.Errorf("the result is %+v", r)
	}
}

// A job that deletes or moves old files may take the one that is written to.
func TestRemovedFilesAreNotWrittenTo(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(file string) error{
		"deleted":           os.Remove,
		"moved":             func(file string) error { return os.Rename(file, file+".old") },
		"with its index":    func(file string) error { return os.RemoveAll(filepath.Dir(file)) },
		"replaced by other": func(file string) error { return errors.Join(os.Remove(file), os.WriteFile(file, nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir, Settings{})
			fine(t, s.Do(t.Context(), bulk(spans, "a")))
			if err := remove(files(t, dir)[0]); err != nil {
				t.Fatal(err)
			}
			r := s.Do(t.Context(), bulk(spans, "b"))
			if len(r.Items) != 1 || r.Items[0].Class != outcome.Transient || r.Items[0].Error.Type != fileRemoved {
				t.Errorf("the result is %+v", r)
			}
			fine(t, s.Do(t.Context(), bulk(spans, "b")))
			if lines, _ := read(t, dir); !slices.Contains(ids(lines, spans), "b") {
				t.Errorf("the lines are %+v", lines)
			}
		})
	}
}

// Containers share host names and process ids, and clocks are set back.
func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for n := range 3 {
		s := open(t, dir, Settings{})
		s.now = func() time.Time { return now }
		fine(t, s.Do(t.Context(), bulk(spans, fmt.Sprint(n))))
	}
	if all := files(t, dir); len(all) != 3 {
		t.Errorf("the files are %v", all)
	}
}

func TestErrorsHaveTheirClass(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct {
		cause      error
		class      outcome.Class
		overloaded bool
	}{
		nameTooLong:      {syscall.ENAMETOOLONG, outcome.Poison, false},
		permissionDenied: {syscall.EACCES, outcome.Transient, false},
		readOnly:         {syscall.EROFS, outcome.Transient, false},
		tooManyOpenFiles: {syscall.EMFILE, outcome.Transient, true},
		outOfMemory:      {syscall.ENOMEM, outcome.Transient, true},
		ioError:          {syscall.EIO, outcome.Transient, false},
		otherFailure:     {syscall.ENXIO, outcome.Transient, false},
		canceled:         {context.Canceled, outcome.Transient, false},
	} {
		e := failure(fmt.Errorf("write: %w", &fs.PathError{Op: "openat", Path: spans, Err: c.cause}))
		if e.Type != kind || outcomes[e.Type] != c.class || overload[e.Type] != c.overloaded || !strings.Contains(e.Reason, spans) {
			t.Errorf("%v is %+v", c.cause, e)
		}
	}
	for _, kind := range types {
		if _, known := outcomes[kind]; !known {
			t.Errorf("%s is not in the table", kind)
		}
	}
	for kind, class := range outcomes {
		if class == outcome.Indexed {
			t.Errorf("%s counts as indexed", kind)
		}
	}
}

// childDirectory is set where the test program is to write until it is killed.
const childDirectory = "FILESINK_TEST_DIRECTORY"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDirectory); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled prints each id once it is answered for.
func writeUntilKilled(dir string) {
	s, err := Open(dir, Settings{FileBytes: 50_000})
	if err != nil {
		panic(err)
	}
	for n := 0; ; n++ {
		var written []string
		for m := range 50 {
			written = append(written, fmt.Sprintf("%d-%d", n, m))
		}
		if r := s.Do(context.Background(), bulk(spans, written...)); r.Class != outcome.Indexed || len(r.Items) > 0 {
			panic(fmt.Sprintf("%+v", r))
		}
		fmt.Println(strings.Join(written, "\n"))
	}
}

// What was answered for is there after kill -9, and the next process leaves files alone
// that it has not made: their last lines may be torn.
func TestCrashesLoseNothingThatWasAnsweredFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childDirectory+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var answered []string
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		if answered = append(answered, scanner.Text()); len(answered) == 1000 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || len(answered) < 1000 {
		t.Fatalf("it ended with %v after %d", err, len(answered))
	}
	complete := answered[:len(answered)/50*50] // its last print may be torn, too

	before := files(t, dir)
	newest := slices.Max(before)
	torn, err := os.OpenFile(newest, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer torn.Close()
	if _, err := torn.WriteString(`{"_index":"` + spans + `","_id":"torn","_source":{"id":"to`); err != nil { // as a power failure leaves it
		t.Fatal(err)
	}
	left, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Settings{})
	fine(t, s.Do(t.Context(), bulk(spans, "after")))
	if now, err := os.ReadFile(newest); err != nil || !bytes.Equal(now, left) {
		t.Errorf("a file of the other process was changed, error %v", err)
	}
	lines, _ := read(t, dir)
	there := map[string]bool{}
	for _, l := range lines {
		there[fmt.Sprint(l.Source["id"])] = true
	}
	for _, id := range append(complete, "after") {
		if !there[id] {
			t.Errorf("%s is missing", id)
		}
	}
	if there["to"] || there["torn"] {
		t.Error("a torn line counts as a document")
	}
}
