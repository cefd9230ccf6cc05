package api

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestKeysAreCreatedListedAndRevoked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	first, err := CreateKey(path, "acme")
	if err != nil {
		t.Fatal(err)
	}
	second, err := CreateKey(path, "acme")
	if err != nil {
		t.Fatal(err)
	}
	other, err := CreateKey(path, "other")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{first, second, other} {
		secret := key[strings.LastIndex(key, "_")+1:]
		if strings.Contains(string(data), secret) || len(secret) != 52 {
			t.Errorf("the file holds the secret of %s, or it is short", key)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	listed, err := ListKeys(path, "acme")
	if err != nil || len(listed) != 2 {
		t.Fatalf("listed %v, %v", listed, err)
	}
	keys, err := OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	for key, tenant := range map[string]string{first: "acme", second: "acme", other: "other"} {
		if got, err := keys.Tenant(key); err != nil || got != tenant {
			t.Errorf("%s opens for %q, %v", key, got, err)
		}
	}
	if err := RevokeKey(path, "acme", listed[0].ID); err != nil {
		t.Fatal(err)
	}
	keys.checked.Store(0)
	if _, err := keys.Tenant(first); !errors.Is(err, ErrDisabledKey) {
		t.Errorf("a revoked key: %v", err)
	}
	if _, err := keys.Tenant(first[:len(first)-1] + "b"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the id of a revoked key with another secret: %v", err)
	}
	if _, err := keys.Tenant(second); err != nil {
		t.Errorf("the other key: %v", err)
	}
	before, err := ListKeys(path, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := RevokeKey(path, "acme", ""); err != nil {
		t.Fatal(err)
	}
	if after, err := ListKeys(path, ""); err != nil || !after[0].Revoked.Equal(before[0].Revoked) || after[1].Revoked.IsZero() || !after[2].Revoked.IsZero() {
		t.Errorf("after revoking all of a tenant: %v, %v", after, err)
	}
	if err := RevokeKey(path, "acme", listed[0].ID+"x"); !errors.Is(err, ErrNoSuchKey) {
		t.Errorf("revoking an unknown key: %v", err)
	}
	if err := RevokeKey(path, "other", listed[0].ID); !errors.Is(err, ErrNoSuchKey) {
		t.Errorf("revoking the key of another tenant: %v", err)
	}
	for _, tenant := range []string{"", "a b", "-a", strings.Repeat("x", 65), "a\n"} {
		if _, err := CreateKey(path, tenant); err == nil {
			t.Errorf("tenant %q gets a key", tenant)
		}
	}
}

func TestKeysSurviveDamagedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := OpenKeys(path); err == nil {
		t.Error("a missing file opens")
	}
	key, err := CreateKey(path, "acme")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{
		"", "{", `{"keys":[{"id":"x","tenant":"acme","sha256":"00"}]}`,
		`{"keys":[` + strings.Repeat(oneKey(t, good)+",", 1) + oneKey(t, good) + `]}`,
	} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		keys.checked.Store(0)
		if _, err := keys.Tenant(key); err != nil {
			t.Errorf("%q: the key before: %v", damage, err)
		}
		if _, err := OpenKeys(path); err == nil {
			t.Errorf("%q opens", damage)
		}
	}
	if err := os.WriteFile(path, []byte(`{"keys":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	keys.checked.Store(0)
	if _, err := keys.Tenant(key); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the key is no longer in the file: %v", err)
	}
}

func oneKey(t *testing.T, file []byte) string {
	t.Helper()
	var f struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(file, &f); err != nil {
		t.Fatal(err)
	}
	return string(f.Keys[0])
}

func TestConcurrentlyCreatedKeysAreAllKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	const many = 20
	var group sync.WaitGroup
	for range many {
		group.Go(func() {
			if _, err := CreateKey(path, "acme"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if keys, err := ListKeys(path, "acme"); err != nil || len(keys) != many {
		t.Errorf("%d keys are kept of %d, %v", len(keys), many, err)
	}
}

// A folder of links is how Kubernetes mounts a secret.
func TestLinkedKeyFileStaysLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link, target := filepath.Join(dir, "keys.json"), filepath.Join(dir, "target.json")
	if err := os.WriteFile(target, []byte(`{"keys":[]}`), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateKey(link, "acme"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if keys, err := ListKeys(target, ""); err != nil || len(keys) != 1 {
		t.Errorf("the target holds %v, %v", keys, err)
	}
}
