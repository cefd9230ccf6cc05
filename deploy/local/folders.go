package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// temporaryPrefix marks the names of stacks whose data goes when they stop.
const temporaryPrefix = "run-"

func isTemporary(name string) bool { return strings.HasPrefix(name, temporaryPrefix) }

// folders is where everything is kept: in base, and for servers that refuse root in open, which is the same folder
// unless the user they run as cannot enter the clone.
type folders struct{ base, open string }

func (f folders) state(name string) string { return filepath.Join(f.base, "run", name+".json") }
func (f folders) env(name string) string   { return filepath.Join(f.base, name+".env") }
func (f folders) lock(name string) string  { return filepath.Join(f.base, "run", name+".lock") }
func (f folders) logs(name string) string  { return filepath.Join(f.base, "log", name) }

func (f folders) place(unprivileged bool) string {
	if unprivileged {
		return f.open
	}
	return f.base
}

func (f folders) data(stack, service string, unprivileged bool) string {
	return filepath.Join(f.place(unprivileged), "data", stack, service)
}

func (f folders) removeData(name string) error {
	return errors.Join(os.RemoveAll(filepath.Join(f.base, "data", name)), os.RemoveAll(filepath.Join(f.open, "data", name)))
}

// FindRoot returns the clone's root, looking upwards from a folder.
func FindRoot(from string) (string, error) {
	dir, err := filepath.Abs(from)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", from, err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module millrace\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%s is not inside a clone of millrace", from)
		}
		dir = parent
	}
}

func foldersOf(root string) folders {
	f := folders{base: filepath.Join(root, ".local")}
	f.open = f.base
	if os.Geteuid() == 0 && !enterable(root) {
		hash := sha256.Sum256([]byte(root))
		f.open = filepath.Join("/var/tmp", "millrace-"+hex.EncodeToString(hash[:6]))
	}
	return f
}

func makeFolders(root string) (folders, error) {
	f := foldersOf(root)
	for _, dir := range []string{f.base, f.open} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return f, fmt.Errorf("make the folder for downloads and data: %w", err)
		}
	}
	if f.open != f.base { // Anybody may write beside it: take only a folder of our own.
		info, err := os.Lstat(f.open)
		if err != nil {
			return f, fmt.Errorf("look at the folder for servers that refuse root: %w", err)
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || owner.Uid != 0 {
			return f, fmt.Errorf("%s belongs to another user: remove it", f.open)
		}
	}
	for _, dir := range []string{f.base, filepath.Join(f.base, "run"), filepath.Join(f.base, "log"), f.open, filepath.Join(f.open, "data"), filepath.Join(f.open, "install")} {
		if err := makeEnterable(dir); err != nil {
			return f, err
		}
	}
	return f, nil
}

// makeEnterable makes a folder that other users can enter, whatever the umask.
func makeEnterable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("open a folder to the servers' user: %w", err)
	}
	return nil
}

// enterable reports whether another user can reach a path through every folder above it.
func enterable(path string) bool {
	for {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(path)
		if parent == path {
			return true
		}
		path = parent
	}
}

// unprivileged is the user of servers that refuse to run as root. Its number differs between systems.
var unprivileged = sync.OnceValue(func() *syscall.Credential {
	const usual = 65534
	credential := &syscall.Credential{Uid: usual, Gid: usual}
	if found, err := user.Lookup("nobody"); err == nil {
		uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			credential.Uid, credential.Gid = uint32(uid), uint32(gid)
		}
	}
	return credential
})

// sweep removes what temporary stacks left behind that were killed, and the logs of those that ended. It is only
// tidying: what it cannot remove stays.
func sweep(f folders) {
	logs, _ := filepath.Glob(f.logs(temporaryPrefix + "*"))
	locks, _ := filepath.Glob(f.lock(temporaryPrefix + "*"))
	names := map[string]bool{}
	for _, path := range logs {
		names[filepath.Base(path)] = true
	}
	for _, path := range locks {
		names[strings.TrimSuffix(filepath.Base(path), ".lock")] = true
	}
	for name := range names {
		lock, err := tryLock(f.lock(name))
		if err != nil {
			continue // It runs.
		}
		_ = f.removeData(name)
		_ = os.RemoveAll(f.logs(name))
		_ = os.Remove(f.state(name))
		_ = os.Remove(f.lock(name))
		lock.release()
	}
}

// Clean removes everything that this package made for a clone. It refuses while a stack runs.
func Clean(root string) error {
	f := foldersOf(root)
	locks, err := filepath.Glob(f.lock("*"))
	if err != nil {
		return fmt.Errorf("look for running stacks: %w", err)
	}
	for _, path := range locks {
		lock, err := tryLock(path)
		if errors.Is(err, errLocked) {
			name := strings.TrimSuffix(filepath.Base(path), ".lock")
			return alreadyRuns(f.state(name), name)
		}
		if err != nil {
			return err
		}
		lock.release()
	}
	if err := errors.Join(os.RemoveAll(f.base), os.RemoveAll(f.open)); err != nil {
		return fmt.Errorf("remove downloads and data: %w", err)
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a file: %w", err)
	}
	return nil
}
