package keyfile

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"millrace/internal/telemetry"
)

func TestConcurrentlyCreatedKeysAreAllKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	const many = 20
	var group sync.WaitGroup
	for range many {
		group.Go(func() {
			if _, err := Create(path, "acme"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if keys, err := List(path, "acme"); err != nil || len(keys) != many {
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
	if _, err := Create(link, "acme"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if keys, err := List(target, ""); err != nil || len(keys) != 1 {
		t.Errorf("the target holds %v, %v", keys, err)
	}
}

// TestReadRefusesWhatNoCollectorCanUse, and says which key or tenant it is about.
func TestReadRefusesWhatNoCollectorCanUse(t *testing.T) {
	t.Parallel()
	const hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for file, want := range map[string]string{
		`{"keys":[{"id":"x","tenant":"acme","sha256":"` + hash + `"}],"quotas":{"acme":{"records_rate":0}}}`: "",
		`{`: "read the key file",
		`{"keys":[{"id":"x","tenant":"acme","sha256":"00"}]}`:                                                              `key "x" is not complete`,
		`{"keys":[{"id":"","tenant":"acme","sha256":"` + hash + `"}]}`:                                                     `key "" is not complete`,
		`{"keys":[{"id":"x","tenant":"not one","sha256":"` + hash + `"}]}`:                                                 `key "x" is not complete`,
		`{"keys":[{"id":"x","tenant":"acme","sha256":"` + hash + `"},{"id":"x","tenant":"acme","sha256":"` + hash + `"}]}`: `key "x" is there twice`,
		`{"keys":[{"id":"x","tenant":"millrace-canary","sha256":"` + hash + `","canary":true}]}`:                           "",
		`{"keys":[{"id":"x","tenant":"millrace-canary","sha256":"` + hash + `"}]}`:                                         `key "x" is of tenant "millrace-canary", which is reserved for the canary`,
		`{"quotas":{"acme":{"bytes_rate":-1}}}`:                                                                            `the quota of "acme" cannot be kept`,
		`{"quotas":{"not one":{"bytes_rate":1}}}`:                                                                          `the quota of "not one" cannot be kept`,
	} {
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Read(path)
		if want == "" && (err != nil || len(f.Keys) != 1) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v", file, f, err)
		}
	}
}

// TestCanarysTenantIsReserved: only the canary's own key has it.
func TestCanarysTenantIsReserved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := Create(path, telemetry.CanaryTenant); err == nil || !strings.Contains(err.Error(), "reserved for the canary") {
		t.Errorf("a tenant claims its name: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the refusal made a file")
	}
	if _, err := CreateCanary(path); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil || len(f.Keys) != 1 || f.Keys[0].Tenant != telemetry.CanaryTenant || !f.Keys[0].Canary {
		t.Errorf("the file holds %+v, %v", f.Keys, err)
	}
}
