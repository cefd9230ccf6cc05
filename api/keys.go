package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/keyfile"
)

// keyCheckInterval is how old what is known of the key file may be: so long a
// revoked key can still be used.
const keyCheckInterval = time.Second

// Keys are the API keys of a file. A change of the file is noticed within a
// second; while the file is missing or damaged, the keys before count. It is
// safe for concurrent use.
type Keys struct {
	path    string
	known   atomic.Pointer[contents]
	checked atomic.Int64 // when the file was last looked at

	mu     sync.Mutex
	file   os.FileInfo // of what is known
	broken string      // what was last said about the file
}

// contents are what is known of the file.
type contents struct {
	keys   map[string]knownKey      // by id
	quotas map[string]keyfile.Quota // by tenant
}

type knownKey struct {
	tenant   string
	hash     [sha256.Size]byte
	disabled bool
}

// What Tenant says of keys that do not open.
var (
	ErrUnknownKey  = errors.New("unknown API key")
	ErrDisabledKey = errors.New("disabled API key")
)

// OpenKeys reads a key file.
func OpenKeys(path string) (*Keys, error) {
	k := &Keys{path: path}
	if err := k.load(); err != nil {
		return nil, err
	}
	k.checked.Store(time.Now().UnixNano())
	return k, nil
}

// Tenant returns whose key it is.
func (k *Keys) Tenant(key string) (string, error) {
	k.refresh()
	// An unknown id is compared too, with a hash that no key has, so that
	// the time does not tell which ids there are.
	id, _ := keyfile.ID(key)
	known, found := k.known.Load().keys[id]
	hash := keyfile.Hash(key)
	if subtle.ConstantTimeCompare(hash[:], known.hash[:]) != 1 || !found {
		return "", ErrUnknownKey
	}
	if known.disabled {
		return "", ErrDisabledKey
	}
	return known.tenant, nil
}

// Quota returns what the file says of a tenant's quota.
func (k *Keys) Quota(tenant string) keyfile.Quota { return k.known.Load().quotas[tenant] }

// refresh looks whether the file has changed, now and then.
func (k *Keys) refresh() {
	now := time.Now().UnixNano()
	last := k.checked.Load()
	if now-last < int64(keyCheckInterval) || !k.checked.CompareAndSwap(last, now) {
		return
	}
	err := k.load()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		keyFileBroken.Set(0)
		k.broken = ""
		return
	}
	keyFileBroken.Set(1)
	if k.broken != err.Error() {
		k.broken = err.Error()
		slog.Error("key file cannot be read: the keys before still count", "error", err)
	}
}

// load reads the file unless it is the one that is known.
func (k *Keys) load() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.path)
	if err != nil {
		return fmt.Errorf("look at the key file: %w", err)
	}
	if k.file != nil && os.SameFile(k.file, info) && k.file.ModTime().Equal(info.ModTime()) && k.file.Size() == info.Size() {
		return nil
	}
	f, err := keyfile.Read(k.path)
	if err != nil {
		return err
	}
	known := make(map[string]knownKey, len(f.Keys))
	for _, key := range f.Keys {
		entry := knownKey{tenant: key.Tenant, disabled: !key.Revoked.IsZero()}
		_, _ = hex.Decode(entry.hash[:], []byte(key.SHA256)) // which was read
		known[key.ID] = entry
	}
	// Looked at before it was read: a change between is noticed next time.
	k.file = info
	k.known.Store(&contents{keys: known, quotas: f.Quotas})
	return nil
}
