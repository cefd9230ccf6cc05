package local

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// errLocked: another process holds the lock.
var errLocked = errors.New("locked")

// lock is held by an open file, so that it goes with its holder, however that ends.
type lock struct{ file *os.File }

// tryLock takes the lock of a file, or returns errLocked.
func tryLock(path string) (*lock, error) { return flock(path, syscall.LOCK_EX|syscall.LOCK_NB) }

// awaitLock takes the lock of a file when it becomes free.
func awaitLock(path string) (*lock, error) { return flock(path, syscall.LOCK_EX) }

func flock(path string, how int) (*lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open a lock file: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &lock{file}, nil
}

// exclusively runs a function while no other process runs one with the same lock file: for what processes make in a place
// that they share.
func exclusively(path string, f func() error) error {
	lock, err := awaitLock(path)
	if err != nil {
		return err
	}
	defer lock.release()
	return f()
}

func (l *lock) release() {
	if l != nil {
		_ = l.file.Close() // Nothing was written.
	}
}
