package main

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"millrace/internal/index"
)

func TestBulkTimeoutIsPositive(t *testing.T) {
	t.Parallel()
	parse := func(args ...string) (s settings, err error) {
		parser, err := kong.New(&s)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parser.Parse(args)
		return s, err
	}
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
