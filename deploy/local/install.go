package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// installedMark is written into a folder last: without it the folder is half a download.
const installedMark = ".installed"

// InstallOnce returns a folder that fill has filled, now or at an earlier start. Processes that want the same folder
// wait for each other.
func InstallOnce(dir string, fill func(dir string) error) (string, error) {
	mark := filepath.Join(dir, installedMark)
	if _, err := os.Stat(mark); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	lock, err := awaitLock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.release()
	if _, err := os.Stat(mark); err == nil {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("remove half a download: %w", err)
	}
	if err := makeEnterable(dir); err != nil {
		return "", err
	}
	if err := fill(dir); err != nil {
		return "", err
	}
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		return "", fmt.Errorf("mark the download as complete: %w", err)
	}
	return dir, nil
}

func (s *Service) installDir(version string) string {
	return filepath.Join(s.stack.folders.place(s.definition.unprivileged), "install", s.Name()+"-"+version)
}

// installZip downloads an archive with Maven, without the archive's own top folder. Maven unpacks it, too: a program
// that is compiled for the race detector, as the tests', would take a minute of CPU for it.
func (s *Service) installZip(ctx context.Context, group, name, version string) (string, error) {
	return InstallOnce(s.installDir(version), func(dir string) error {
		s.stack.progress.line(s.Name(), "downloading version %s (once)", version)
		download := filepath.Join(dir, ".download")
		unpacked := filepath.Join(download, "unpacked")
		// With a repository of its own, nothing stays outside of the clone.
		err := s.client(ctx, download, s.tools[maven].path, "--batch-mode", "--quiet", "-Dmaven.repo.local="+filepath.Join(download, "repository"),
			"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack",
			fmt.Sprintf("-Dartifact=%s:%s:%s:zip", group, name, version), "-DoutputDirectory="+unpacked)
		if err != nil {
			return err
		}
		if err := adopt(unpacked, dir); err != nil {
			return err
		}
		return os.RemoveAll(download)
	})
}

// installPython downloads packages with pip into a folder of their own.
func (s *Service) installPython(ctx context.Context, version string, requirements ...string) (string, error) {
	return InstallOnce(s.installDir(version), func(dir string) error {
		if err := exec.CommandContext(ctx, s.tools[python].path, "-c", "import pip").Run(); err != nil {
			return fmt.Errorf("%s has no pip: install it (python3-pip on Debian)", s.tools[python].path)
		}
		s.stack.progress.line(s.Name(), "downloading version %s (once)", version)
		return s.client(ctx, dir, s.tools[python].path, append([]string{"-m", "pip", "install", "--quiet",
			"--disable-pip-version-check", "--no-warn-script-location", "--no-compile", "--target", dir}, requirements...)...)
	})
}

// InstallPython downloads Python packages once, into a folder of their own among the downloads of a clone. A process
// finds them by PYTHONPATH. It returns the folder and the interpreter they were chosen for. to gets progress
// lines; it may be nil.
func InstallPython(ctx context.Context, root string, to io.Writer, name, version string, requirements ...string) (dir, interpreter string, err error) {
	found, err := findPython(ctx)
	if err != nil {
		return "", "", fmt.Errorf("find Python for %s: %w", name, err)
	}
	packages, err := installing(root, to, name)
	if err != nil {
		return "", "", err
	}
	packages.tools = map[tool]foundTool{python: found}
	if dir, err = packages.installPython(ctx, version, requirements...); err != nil {
		return "", "", fmt.Errorf("install %s: %w", name, err)
	}
	return dir, found.path, nil
}

// installing is what downloads packages for something that is no server.
func installing(root string, to io.Writer, name string) (*Service, error) {
	folders, err := makeFolders(root)
	if err != nil {
		return nil, err
	}
	return &Service{definition: definition{name: name}, stack: &Stack{folders: folders, progress: &progress{to: to}}}, nil
}

// installNode downloads packages with npm into a folder of their own.
func (s *Service) installNode(ctx context.Context, version string, packages ...string) (string, error) {
	return InstallOnce(s.installDir(version), func(dir string) error {
		s.stack.progress.line(s.Name(), "downloading version %s (once)", version)
		return s.client(ctx, dir, "npm", append([]string{"install", "--prefix", dir, "--no-audit", "--no-fund", "--loglevel=error"}, packages...)...)
	})
}

// InstallNode is InstallPython for packages of npm. Scripts in the folder find them.
func InstallNode(ctx context.Context, root string, to io.Writer, name, version string, packages ...string) (dir, interpreter string, err error) {
	found, err := find(ctx, node, nil)
	if err != nil {
		return "", "", fmt.Errorf("find Node.js for %s: %w", name, err)
	}
	service, err := installing(root, to, name)
	if err != nil {
		return "", "", err
	}
	if dir, err = service.installNode(ctx, version, packages...); err != nil {
		return "", "", fmt.Errorf("install %s: %w", name, err)
	}
	return dir, found.path, nil
}

// client runs a package manager in a folder, with a line of progress now and then. Maven leaves markers where it runs.
func (s *Service) client(ctx context.Context, dir, program string, args ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	const interval = 10 * time.Second
	tick := time.NewTicker(interval)
	defer tick.Stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for begin := time.Now(); ; {
			select {
			case <-done:
				return
			case <-tick.C:
				s.stack.progress.line(s.Name(), "still downloading after %.0f s", time.Since(begin).Seconds())
			}
		}
	}()

	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &output
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := StartChild(cmd, nil); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("run %s %s: %w\n%s", program, strings.Join(args, " "), err, indent(strings.TrimSpace(output.String())))
	}
	return nil
}

// adopt moves what is in the only folder of an unpacked archive into dir, readable for the servers' user.
func adopt(unpacked, dir string) error {
	top, err := os.ReadDir(unpacked)
	if err != nil {
		return fmt.Errorf("read the unpacked archive: %w", err)
	}
	if len(top) != 1 || !top[0].IsDir() {
		return fmt.Errorf("the archive has %d entries at its top, want one folder", len(top))
	}
	content, err := os.ReadDir(filepath.Join(unpacked, top[0].Name()))
	if err != nil {
		return fmt.Errorf("read the archive's folder: %w", err)
	}
	for _, entry := range content {
		path := filepath.Join(dir, entry.Name())
		if err := os.Rename(filepath.Join(unpacked, top[0].Name(), entry.Name()), path); err != nil {
			return fmt.Errorf("move what was unpacked: %w", err)
		}
		if err := filepath.WalkDir(path, open); err != nil {
			return fmt.Errorf("set the modes of what was unpacked: %w", err)
		}
	}
	return nil
}

// open lets other users enter a folder, read a file, and run a program: those in archives are not always marked as such.
func open(path string, entry fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if entry.IsDir() || info.Mode()&0o100 != 0 || filepath.Base(filepath.Dir(path)) == "bin" {
		mode = 0o755
	}
	return os.Chmod(path, mode)
}
