package main

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"millrace/internal/index"
	"millrace/workflows"
)

func parse(args ...string) (s settings, err error) {
	parser, err := kong.New(&s)
	if err == nil {
		_, err = parser.Parse(args)
	}
	return s, err
}

func TestBulkTimeoutIsPositive(t *testing.T) {
	t.Parallel()
	if s, err := parse(); err != nil || s.BulkTimeout != index.DefaultTimeout {
		t.Errorf("the default is %s, error %v", s.BulkTimeout, err)
	}
	if s, err := parse("--bulk-timeout=2s"); err != nil || s.BulkTimeout != 2*time.Second {
		t.Errorf("2s is taken as %s, error %v", s.BulkTimeout, err)
	}
	for _, wrong := range []string{"0s", "-1s"} {
		if _, err := parse("--bulk-timeout=" + wrong); err == nil || !strings.Contains(err.Error(), "--bulk-timeout") {
			t.Errorf("%s gives error %v", wrong, err)
		}
	}
}

func TestLimitsOfABatch(t *testing.T) {
	t.Parallel()
	defaults := workflows.BatchLimits{Attempts: workflows.DefaultBatchAttempts, Age: workflows.DefaultBatchAge}
	if s, err := parse(); err != nil || s.BatchLimits != defaults {
		t.Errorf("the defaults are %+v, error %v", s.BatchLimits, err)
	}
	if s, err := parse("--batch-attempts=3", "--batch-age=90m"); err != nil || s.BatchLimits != (workflows.BatchLimits{Attempts: 3, Age: 90 * time.Minute}) {
		t.Errorf("they are taken as %+v, error %v", s.BatchLimits, err)
	}
	for _, wrong := range []string{"--batch-attempts=0", "--batch-attempts=-1", "--batch-age=0s", "--batch-age=-1h"} {
		flag, _, _ := strings.Cut(wrong, "=")
		if _, err := parse(wrong); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s gives error %v", wrong, err)
		}
	}
}
