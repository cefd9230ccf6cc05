// Package keyfile keeps the API keys of tenants, hashed, and their quotas, in a file that collectors read.
package keyfile

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"millrace/internal/telemetry"
)

// Key is an API key as the key file knows it: not the key itself.
type Key struct {
	ID      string    `json:"id"` // the public part of the key
	Tenant  string    `json:"tenant"`
	SHA256  string    `json:"sha256"` // of the whole key, in hex
	Created time.Time `json:"created"`
	Revoked time.Time `json:"revoked,omitzero"` // disabled since
	// Canary: it is of telemetry.CanaryTenant, and on purpose.
	Canary bool `json:"canary,omitempty"`
}

// claims reports whether a key is of the canary's tenant, and does not say that it is
// the canary's. Records of that tenant are kept for a day alone.
func (k Key) claims() bool { return k.Tenant == telemetry.CanaryTenant && !k.Canary }

// File is the JSON document.
type File struct {
	Keys   []Key            `json:"keys"`
	Quotas map[string]Quota `json:"quotas,omitempty"` // by tenant, where not the collector's default
}

// Quota is how much of one collector a tenant may use, each second. A nil field
// is the collector's default, zero is no limit.
type Quota struct {
	RecordsRate *float64 `json:"records_rate,omitempty"`
	BytesRate   *float64 `json:"bytes_rate,omitempty"`
}

// usable reports whether both rates are numbers that can be kept to.
func (q Quota) usable() bool {
	for _, rate := range []*float64{q.RecordsRate, q.BytesRate} {
		if rate != nil && !UsableRate(*rate) {
			return false
		}
	}
	return true
}

// UsableRate reports whether a rate is a number that can be kept to.
func UsableRate(rate float64) bool { return rate >= 0 && !math.IsInf(rate, 1) }

// An API key is mr_<id>_<secret>. The id finds the hash to compare with, in
// time that depends on nothing secret. The secret has 256 random bits, so that
// a plain SHA-256 of it keeps it: salts and slow hashes are for passwords,
// which can be guessed.
const (
	keyPrefix  = "mr_"
	idBytes    = 5
	secretSize = 32
)

var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ID returns the public part of a key.
func ID(key string) (string, bool) {
	rest, ours := strings.CutPrefix(key, keyPrefix)
	id, _, found := strings.Cut(rest, "_")
	return id, ours && found
}

// Hash is what the file has of a key.
func Hash(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// tenantName is what a tenant may be called.
var tenantName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// Create makes a key for a tenant and adds its hash to the file, which is
// made if it is missing. This is the only time that the key can be seen.
func Create(path, tenant string) (string, error) {
	if err := CheckTenant(tenant); err != nil {
		return "", fmt.Errorf("create a key: %w", err)
	}
	return create(path, Key{Tenant: tenant})
}

// CheckTenant reports what no tenant may be called.
func CheckTenant(tenant string) error {
	if !tenantName.MatchString(tenant) {
		return fmt.Errorf("tenant %q does not match %s", tenant, tenantName)
	}
	if tenant == telemetry.CanaryTenant {
		return fmt.Errorf("tenant %q is reserved for the canary, whose records are deleted after a day: for its key, give --canary", tenant)
	}
	return nil
}

// CreateCanary is Create for the canary.
func CreateCanary(path string) (string, error) {
	return create(path, Key{Tenant: telemetry.CanaryTenant, Canary: true})
}

func create(path string, made Key) (string, error) {
	var random [idBytes + secretSize]byte
	_, _ = rand.Read(random[:]) // never fails
	id := keyEncoding.EncodeToString(random[:idBytes])
	key := keyPrefix + id + "_" + keyEncoding.EncodeToString(random[idBytes:])
	sum := Hash(key)
	made.ID, made.SHA256, made.Created = id, hex.EncodeToString(sum[:]), time.Now().UTC().Truncate(time.Second)
	err := change(path, func(f *File) error {
		f.Keys = append(f.Keys, made)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("create a key: %w", err)
	}
	return key, nil
}

// List returns the keys of a tenant, or with "" all keys, oldest first.
func List(path, tenant string) ([]Key, error) {
	f, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	keys := []Key{}
	for _, k := range f.Keys {
		if tenant == "" || k.Tenant == tenant {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// ErrNoSuchKey says that a key to be revoked is not there.
var ErrNoSuchKey = errors.New("no such key")

// Revoke disables the key with an id, or with "" every key of the tenant.
// The key stays in the file, so that its holder is answered 403 and not 401.
// To revoke a key again changes nothing.
func Revoke(path, tenant, id string) error {
	err := change(path, func(f *File) error {
		found := false
		for i := range f.Keys {
			k := &f.Keys[i]
			if k.Tenant != tenant || (id != "" && k.ID != id) {
				continue
			}
			found = true
			if k.Revoked.IsZero() {
				k.Revoked = time.Now().UTC().Truncate(time.Second)
			}
		}
		if !found {
			return ErrNoSuchKey
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke a key: %w", err)
	}
	return nil
}

// SetQuota changes what a tenant may use of each collector. What the change
// leaves nil is kept.
func SetQuota(path, tenant string, change Quota) error {
	return changeQuota(path, tenant, change.usable(), func(quota Quota) Quota {
		if change.RecordsRate != nil {
			quota.RecordsRate = change.RecordsRate
		}
		if change.BytesRate != nil {
			quota.BytesRate = change.BytesRate
		}
		return quota
	})
}

// ResetQuota gives a tenant the quota that collectors have by default.
func ResetQuota(path, tenant string) error {
	return changeQuota(path, tenant, true, func(Quota) Quota { return Quota{} })
}

func changeQuota(path, tenant string, usable bool, edit func(Quota) Quota) error {
	if !tenantName.MatchString(tenant) {
		return fmt.Errorf("set a quota: tenant %q does not match %s", tenant, tenantName)
	}
	if !usable {
		return errors.New("set a quota: a rate is negative or not a number")
	}
	err := change(path, func(f *File) error {
		if f.Quotas == nil {
			f.Quotas = map[string]Quota{}
		}
		if f.Quotas[tenant] = edit(f.Quotas[tenant]); f.Quotas[tenant] == (Quota{}) {
			delete(f.Quotas, tenant)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set a quota: %w", err)
	}
	return nil
}

// Quotas returns the quotas of the file, by tenant.
func Quotas(path string) (map[string]Quota, error) {
	f, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("list quotas: %w", err)
	}
	return f.Quotas, nil
}

// Read reads the file, and refuses one that a collector cannot use.
func Read(path string) (File, error) {
	f, err := read(path)
	if err != nil {
		return f, err
	}
	seen := map[string]bool{}
	for _, key := range f.Keys {
		if hash, err := hex.DecodeString(key.SHA256); err != nil || len(hash) != sha256.Size || key.ID == "" || !tenantName.MatchString(key.Tenant) {
			return f, fmt.Errorf("read the key file %s: key %q is not complete", path, key.ID)
		}
		if key.claims() {
			return f, fmt.Errorf("read the key file %s: key %q is of tenant %q, which is reserved for the canary: give the key another tenant, or make the canary's with `collector keys create --canary`",
				path, key.ID, key.Tenant)
		}
		if seen[key.ID] {
			return f, fmt.Errorf("read the key file %s: key %q is there twice", path, key.ID)
		}
		seen[key.ID] = true
	}
	for tenant, quota := range f.Quotas {
		if !tenantName.MatchString(tenant) || !quota.usable() {
			return f, fmt.Errorf("read the key file %s: the quota of %q cannot be kept", path, tenant)
		}
	}
	return f, nil
}

func read(path string) (File, error) {
	var f File
	data, err := os.ReadFile(path)
	if err != nil {
		return f, fmt.Errorf("read the key file: %w", err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("read the key file %s: %w", path, err)
	}
	return f, nil
}

// change reads the file, changes it and replaces it, under a lock. A reader
// sees the old file or the new one, never half of one.
func change(path string, edit func(*File) error) (err error) {
	// The key file itself is replaced, so the lock is on a file beside it.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the lock of the key file: %w", err)
	}
	defer lock.Close()
	for {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock the key file: %w", err)
	}
	f, err := read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := edit(&f); err != nil {
		return err
	}
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(f); err != nil {
		return fmt.Errorf("encode the key file: %w", err)
	}
	return replaceFile(path, data.Bytes())
}

// replaceFile puts data in the place of a file, durably and all at once.
func replaceFile(path string, data []byte) (err error) {
	// Where the path is a link, what it points at is replaced.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("make a new key file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if old, err := os.Stat(path); err == nil {
		// A collector that runs as another user must still be able to read it.
		if err := file.Chmod(old.Mode().Perm()); err != nil {
			file.Close()
			return fmt.Errorf("set the mode of the new key file: %w", err)
		}
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write the new key file: %w", err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("replace the key file: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("open the folder of the key file: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("make the new key file durable: %w", err)
	}
	return nil
}
