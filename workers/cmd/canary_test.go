package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func TestCanaryIsRefusedWhereItCannotRun(t *testing.T) {
	t.Parallel()
	const urls, key = "--canary-urls=eu-west-1=https://eu.example/,us=http://us.example:8080/base", "--canary-key=mr_x_secret"
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("mr_x_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                                  "",
		urls + " " + key:                    "",
		urls + " --canary-key-file=" + file: "",
		urls:                                "--canary-key: ",
		urls + " " + key + " --canary-key-file=" + file:                                 "--canary-key and --canary-key-file: ",
		urls + " --canary-key-file=" + file + ".gone":                                   "--canary-key-file",
		"--canary-urls=eu=collector.example " + key:                                     "--canary-urls: that of region eu is no http or https address",
		"--canary-urls=eu=ftp://c.example " + key:                                       "--canary-urls: that of region eu is no http or https address",
		"--canary-urls=eu=https://ada:hunter2@c.example " + key:                         "--canary-urls: that of region eu has more than a host and a path",
		"--canary-urls=eu=https://c.example?key=hunter2 " + key:                         "--canary-urls: that of region eu has more than a host and a path",
		"--canary-urls=e*u=https://c.example " + key:                                    `--canary-urls: region "e*u"`,
		"--canary-urls=https://c.example " + key:                                        "--canary-urls",
		"--queues=canary":                                                               "--queues: canary: the canary needs --canary-urls",
		"--queues=index,canary " + urls + " " + key:                                     "",
		urls + " " + key + " --sink=file --sink-directory=" + filepath.Dir(file) + "/s": "--canary-urls: the canary searches its records",
	} {
		_, err := parse(strings.Fields(args)...)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s gives error %v", args, err)
		}
	}
}

// TestCanaryReadsItsKey from a file, or ends the worker before it begins.
func TestCanaryReadsItsKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for text, want := range map[string]string{"mr_x_secret\n": "mr_x_secret", " \n": ""} {
		file := filepath.Join(dir, "key"+want)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := Canary{KeyFile: file}
		if err := c.readKey(); c.Key != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), "--canary-key-file: ") {
			t.Errorf("%q is read as %q: %v", text, c.Key, err)
		}
	}
}

func TestCanaryIsConfiguredByItsVariables(t *testing.T) {
	t.Setenv("MILLRACE_CANARY_URLS", "eu-west-1=https://eu.example,us=http://us.example:8080")
	t.Setenv("MILLRACE_CANARY_KEY", "mr_x_secret")
	s, err := parse()
	want := map[string]string{"eu-west-1": "https://eu.example", "us": "http://us.example:8080"}
	if err != nil || !maps.Equal(s.Canary.URLs, want) || s.Canary.Key != "mr_x_secret" || !slices.Contains(s.polled(), "canary") {
		t.Errorf("it is %+v, and polls %v: %v", s.Canary.URLs, s.polled(), err)
	}
	to, err := s.open(aws.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if all := s.canary(nil, to); len(all) != 1 || all["canary"] == nil {
		t.Errorf("it has the workers %v", all)
	}
}
