package api

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/keyfile"
)

func TestKeysAreCreatedListedAndRevoked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	first, err := keyfile.Create(path, "acme")
	if err != nil {
		t.Fatal(err)
	}
	second, err := keyfile.Create(path, "acme")
	if err != nil {
		t.Fatal(err)
	}
	other, err := keyfile.Create(path, "other")
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
	listed, err := keyfile.List(path, "acme")
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
	if err := keyfile.Revoke(path, "acme", listed[0].ID); err != nil {
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
	before, err := keyfile.List(path, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if err := keyfile.Revoke(path, "acme", ""); err != nil {
		t.Fatal(err)
	}
	if after, err := keyfile.List(path, ""); err != nil || !after[0].Revoked.Equal(before[0].Revoked) || after[1].Revoked.IsZero() || !after[2].Revoked.IsZero() {
		t.Errorf("after revoking all of a tenant: %v, %v", after, err)
	}
	if err := keyfile.Revoke(path, "acme", listed[0].ID+"x"); !errors.Is(err, keyfile.ErrNoSuchKey) {
		t.Errorf("revoking an unknown key: %v", err)
	}
	if err := keyfile.Revoke(path, "other", listed[0].ID); !errors.Is(err, keyfile.ErrNoSuchKey) {
		t.Errorf("revoking the key of another tenant: %v", err)
	}
	for _, tenant := range []string{"", "a b", "-a", strings.Repeat("x", 65), "a\n"} {
		if _, err := keyfile.Create(path, tenant); err == nil {
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
	key, err := keyfile.Create(path, "acme")
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
