package config

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestBackupMayHaveItsOwnBucket: it is in the bucket of everything else
// unless another one is named, by a name that AWS takes.
func TestBackupMayHaveItsOwnBucket(t *testing.T) {
	for name, c := range map[string]struct{ want, wrong string }{
		"": {want: "everything"}, "firehose": {want: "firehose"}, "Fire_Hose": {wrong: "--backup-bucket"},
	} {
		t.Setenv("MILLRACE_BACKUP_BUCKET", name)
		var program struct{ Resources }
		parser, err := kong.New(&program)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parser.Parse([]string{"--bucket=everything"})
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%q: %v", name, err)
		}
		if got := program.BackupBucket(); err == nil && got != c.want {
			t.Errorf("%q: the backup is in %s", name, got)
		}
	}
}
