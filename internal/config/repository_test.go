package config

import (
	"testing"

	"github.com/alecthomas/kong"
)

// TestRepositorySettingIsShared: what takes snapshots, and what restores
// them, look at the same variable and refuse the same names.
func TestRepositorySettingIsShared(t *testing.T) {
	var taker struct{ Repository }
	var restorer struct {
		Repository RepositoryName `embed:""`
	}
	for _, c := range []struct {
		name string
		ok   bool
	}{{"nightly", true}, {"A repository", false}, {"_own", false}} {
		t.Setenv("MILLRACE_SNAPSHOT_REPOSITORY", c.name)
		for _, program := range []any{&taker, &restorer} {
			parser, err := kong.New(program)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(nil); (err == nil) != c.ok {
				t.Errorf("%T takes %q: %v", program, c.name, err)
			}
		}
		if taker.Name != c.name || restorer.Repository.Name != c.name {
			t.Errorf("they read %q and %q", taker.Name, restorer.Repository.Name)
		}
	}
}
