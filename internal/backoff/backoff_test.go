package backoff_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/backoff"
)

func TestWaitTakesBetweenHalfAndAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			began := time.Now()
			if !backoff.Wait(t.Context(), time.Second) {
				t.Error("it was interrupted")
			}
			if took := time.Since(began); took < time.Second/2 || took > time.Second {
				t.Errorf("it took %v", took)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		began := time.Now()
		if backoff.Sleep(ctx, time.Hour) || time.Since(began) != time.Millisecond {
			t.Errorf("its context ended, and it waited for %v", time.Since(began))
		}
	})
}
