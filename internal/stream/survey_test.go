package stream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestSurveyDoesNotHoldUpAWriter: a look that hangs is waited for once, and not for long; as long as one that succeeded is
// fresh, no look is waited for.
func TestSurveyDoesNotHoldUpAWriter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s survey
		began, release := 0, make(chan error)
		look := func(ctx context.Context) error {
			began++
			err := <-release
			return errors.Join(err, ctx.Err())
		}
		took := func(ctx context.Context) time.Duration {
			begin := time.Now()
			s.take(ctx, FormAge, formTrust, look)
			waited := time.Since(begin)
			synctest.Wait()
			return waited
		}
		if waited := took(t.Context()); waited != surveyWithin {
			t.Errorf("for the first look it waits %v, want %v", waited, surveyWithin)
		}
		if waited := took(t.Context()); waited != 0 || began != 1 {
			t.Errorf("while the first hangs, it waits %v, and has begun %d looks", waited, began)
		}
		release <- errors.New("no rights")
		time.Sleep(FormAge + 1)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if waited := took(gone); waited != 0 || began != 2 {
			t.Errorf("a writer that is gone waits %v, and has begun %d looks", waited, began)
		}
		release <- nil // it is of use to the next writer
		synctest.Wait()
		if s.known.IsZero() {
			t.Error("the look ended with the writer that began it")
		}
		time.Sleep(FormAge + 1)
		if waited := took(t.Context()); waited != 0 || began != 3 {
			t.Errorf("once it knows, it waits %v for a look, and has begun %d", waited, began)
		}
		release <- nil
		time.Sleep(formTrust + 1)
		go func() { release <- nil }()
		if waited := took(t.Context()); waited != 0 || began != 4 || time.Since(s.known) > 0 {
			t.Errorf("what it knows is old: it waits %v for a look, has begun %d, and knows since %v", waited, began, time.Since(s.known))
		}
		time.Sleep(formTrust + 1)
		other := make(chan time.Duration)
		go func() {
			begin := time.Now()
			s.take(t.Context(), FormAge, formTrust, look)
			other <- time.Since(begin)
		}()
		synctest.Wait()
		go func() {
			time.Sleep(surveyWithin / 2)
			release <- nil
		}()
		begin := time.Now()
		s.take(t.Context(), FormAge, formTrust, look)
		if waited, others := time.Since(begin), <-other; waited != surveyWithin/2 || others != waited || began != 5 {
			t.Errorf("two writers wait %v and %v for one look, and have begun %d", others, waited, began)
		}
	})
}
