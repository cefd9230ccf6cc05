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
	"sync"
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
	if b.chromium == "" {
		b.unpack(t)
	}
	return b
}

// unpacking is done by one test at a time: another would start a browser that is half there.
var unpacking sync.Mutex

func (b *Browser) unpack(t testing.TB) {
	t.Helper()
	unpacking.Lock()
	defer unpacking.Unlock()
	if err := os.MkdirAll(b.temporary(), 0o755); err != nil {
		t.Fatal(err)
	}
	const script = `import('@sparticuz/chromium').then(({ default: chromium }) => { chromium.setGraphicsMode = false; return chromium.executablePath() })`
	cmd := exec.CommandContext(t.Context(), b.node, "-e", script)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "TMPDIR="+b.temporary())
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("unpack the browser: %v\n%s", err, output)
	}
}

// temporary is where the browser is unpacked once.
func (b *Browser) temporary() string { return filepath.Join(b.dir, "tmp") }

// Run runs a script, which imports open and judge from ./browser.mjs, and fails the test if it
// fails. Its pictures go into a folder, which is made.
func (b *Browser) Run(t testing.TB, name string, script []byte, shots string, env ...string) {
	t.Helper()
	// In a folder of its own, from which node looks for packages upwards: other tests run scripts at the same time.
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	err = errors.Join(
		os.MkdirAll(shots, 0o755), os.MkdirAll(b.temporary(), 0o755),
		os.WriteFile(filepath.Join(dir, "browser.mjs"), opens, 0o644), os.WriteFile(filepath.Join(dir, name), script, 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), b.node, filepath.Join(dir, name))
	cmd.Env = append(append(os.Environ(), "TMPDIR="+b.temporary(), "CHROMIUM="+b.chromium, "SHOTS="+shots,
		fmt.Sprint("PATIENCE=", patience.Milliseconds())), env...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output.String())
	}
}
