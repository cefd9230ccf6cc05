// Package cloudformation checks the templates that it has.
package cloudformation

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"millrace/deploy/local"
	"millrace/internal/backup"
)

// lintVersion is that of cfn-lint, on PyPI.
const lintVersion = "1.58.0"

// lint runs cfn-lint, which is downloaded once.
func lint(t *testing.T, template string) (string, error) {
	t.Helper()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	packages, python, err := local.InstallPython(t.Context(), root, io.Discard, "cfn-lint", lintVersion, "cfn-lint=="+lintVersion)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", "import sys; from cfnlint.runner import main; sys.exit(main())", "--non-zero-exit-code", "informational",
		"--regions", "us-east-1", "eu-west-1", "--template", template)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+packages)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func TestTemplatesAreClean(t *testing.T) {
	t.Parallel()
	templates, err := filepath.Glob("*.yml")
	if err != nil || len(templates) == 0 {
		t.Fatalf("no templates, %v", err)
	}
	for _, template := range templates {
		if output, err := lint(t, template); err != nil {
			t.Errorf("%s: %v\n%s", template, err, output)
		}
	}
}

// TestLintFindsMistakes: a mistake in the template is found.
func TestLintFindsMistakes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("firehose.yml")
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.yml")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(text), "CompressionFormat: GZIP", "CompressionFormat: ZSTD", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if output, err := lint(t, broken); err == nil || !strings.Contains(output, "ZSTD") {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestOnlyTheBackupExpires: a rule without a prefix would delete the other
// objects of the bucket.
func TestOnlyTheBackupExpires(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("firehose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources struct {
			Bucket struct {
				Properties struct {
					LifecycleConfiguration struct {
						Rules []struct {
							Prefix           string `yaml:"Prefix"`
							ExpirationInDays string `yaml:"ExpirationInDays"`
						} `yaml:"Rules"`
					} `yaml:"LifecycleConfiguration"`
				} `yaml:"Properties"`
			} `yaml:"Bucket"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	var prefixes []string
	for _, rule := range template.Resources.Bucket.Properties.LifecycleConfiguration.Rules {
		if rule.ExpirationInDays != "" {
			prefixes = append(prefixes, rule.Prefix)
		}
	}
	if !slices.Equal(prefixes, []string{backup.Prefix, "backup-errors/"}) {
		t.Errorf("what expires is below %q", prefixes)
	}
}
