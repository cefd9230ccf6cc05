package poll_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/test/kit/poll"
)

// What moves may take any time; what stands is given up.
func TestProgressRenewsPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		wait := func(stands time.Duration) error {
			began = time.Now()
			return poll.While(t.Context(), time.Second, time.Minute, func() (string, bool, error) {
				elapsed := time.Since(began)
				return fmt.Sprint("at ", min(elapsed, stands)/(30*time.Second)), elapsed > time.Hour, nil
			})
		}
		if err := wait(2 * time.Hour); err != nil {
			t.Errorf("what moves for an hour ends with %v", err)
		}
		err := wait(10 * time.Minute)
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "for 1m0s: at 20") || took != 11*time.Minute {
			t.Errorf("what stands after ten minutes ends after %v with %v", took, err)
		}
	})
}
