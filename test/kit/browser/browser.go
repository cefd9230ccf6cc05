// Package browser has a real browser do what operators do: scripts of Playwright run in a
// headless Chromium.
package browser

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"millrace/deploy/local"
)

const (
	playwrightVersion = "1.65.1"
	chromiumVersion   = "153.0.0"
	axeVersion        = "4.14.1" // finds what keeps people from a page
)

// patience is how long a script waits for one thing: what is a second on an idle machine
// takes many beside other tests.
const patience = 3 * time.Minute

//go:embed browser.mjs
var opens []byte

// Browser runs scripts.
type Browser struct {
	dir, node string
	chromium  string // an installed one; empty: that of the packages
}

// Install downloads the browser once. The test is skipped where there is none for this
// machine, and none is installed.
func Install(t testing.TB) *Browser {
	t.Helper()
	b := &Browser{}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" { // that of the packages is for these alone
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
			if path, err := exec.LookPath(name); err == nil {
				b.chromium = path
			}
		}
		if b.chromium == "" {
			t.Skip("no browser for this machine can be downloaded: install Chromium")
		}
	}
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	b.dir, b.node, err = local.InstallNode(t.Context(), root, os.Stderr, "browser", playwrightVersion+"-"+chromiumVersion+"-"+axeVersion,
		"playwright-core@"+playwrightVersion, "@sparticuz/chromium@"+chromiumVersion, "axe-core@"+axeVersion)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Run runs a script, which imports open and judge from ./browser.mjs, and fails the test if it
// fails. Its pictures go into a folder, which is made.
func (b *Browser) Run(t testing.TB, name string, script []byte, shots string, env ...string) {
	t.Helper()
	temporary := filepath.Join(b.dir, "tmp") // the browser is unpacked there once
	err := errors.Join(
		os.MkdirAll(shots, 0o755), os.MkdirAll(temporary, 0o755),
		os.WriteFile(filepath.Join(b.dir, "browser.mjs"), opens, 0o644), os.WriteFile(filepath.Join(b.dir, name), script, 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), b.node, filepath.Join(b.dir, name))
	cmd.Env = append(append(os.Environ(), "TMPDIR="+temporary, "CHROMIUM="+b.chromium, "SHOTS="+shots,
		fmt.Sprint("PATIENCE=", patience.Milliseconds())), env...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output.String())
	}
}
