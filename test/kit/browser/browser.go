// Package browser has a real browser do what operators do: scripts of Playwright run in a
// headless Chromium.
package browser

import (
	"context"
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

// ErrNone says that no browser for this machine can be downloaded, and none is installed.
var ErrNone = errors.New("no browser for this machine can be downloaded: install Chromium")

// Install downloads the browser once.
func Install(ctx context.Context) (b *Browser, err error) {
	b = &Browser{}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" { // that of the packages is for these alone
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
			if path, err := exec.LookPath(name); err == nil {
				b.chromium = path
			}
		}
		if b.chromium == "" {
			return nil, ErrNone
		}
	}
	root, err := local.FindRoot(".")
	if err != nil {
		return nil, err
	}
	b.dir, b.node, err = local.InstallNode(ctx, root, os.Stderr, "browser", playwrightVersion+"-"+chromiumVersion+"-"+axeVersion,
		"playwright-core@"+playwrightVersion, "@sparticuz/chromium@"+chromiumVersion, "axe-core@"+axeVersion)
	if err == nil && b.chromium == "" {
		err = b.unpack(ctx)
	}
	return b, err
}

// ForTest installs the browser, or skips the test where there is none.
func ForTest(t testing.TB) *Browser {
	t.Helper()
	b, err := Install(t.Context())
	if errors.Is(err, ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unpacking is done by one at a time: another would start a browser that is half there.
var unpacking sync.Mutex

func (b *Browser) unpack(ctx context.Context) error {
	unpacking.Lock()
	defer unpacking.Unlock()
	if err := os.MkdirAll(b.temporary(), 0o755); err != nil {
		return fmt.Errorf("unpack the browser: %w", err)
	}
	const script = `import('@sparticuz/chromium').then(({ default: chromium }) => { chromium.setGraphicsMode = false; return chromium.executablePath() })`
	cmd := exec.CommandContext(ctx, b.node, "-e", script)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "TMPDIR="+b.temporary())
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unpack the browser: %w\n%s", err, output)
	}
	return nil
}

// temporary is where the browser is unpacked once.
func (b *Browser) temporary() string { return filepath.Join(b.dir, "tmp") }

// Script is one of Playwright, which imports open and judge from ./browser.mjs.
type Script struct {
	Name  string
	Text  []byte
	Shots string   // the folder of its pictures, which is made
	Env   []string // KEY=VALUE
}

// Run runs a script, and says what it printed if it fails.
func (b *Browser) Run(ctx context.Context, s Script) (err error) {
	// In a folder of its own, from which node looks for packages upwards: others may run scripts at the same time.
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		return fmt.Errorf("make a folder for a script: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := errors.Join(
		os.MkdirAll(s.Shots, 0o755), os.MkdirAll(b.temporary(), 0o755),
		os.WriteFile(filepath.Join(dir, "browser.mjs"), opens, 0o644), os.WriteFile(filepath.Join(dir, s.Name), s.Text, 0o644),
	); err != nil {
		return fmt.Errorf("write a script: %w", err)
	}
	cmd := exec.CommandContext(ctx, b.node, filepath.Join(dir, s.Name))
	cmd.Env = append(append(os.Environ(), "TMPDIR="+b.temporary(), "CHROMIUM="+b.chromium, "SHOTS="+s.Shots,
		fmt.Sprint("PATIENCE=", patience.Milliseconds())), s.Env...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", s.Name, err, output)
	}
	return nil
}
