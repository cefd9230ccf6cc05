package stream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ReplacedError says that a stream was deleted and made anew under its name: what
// was in it is gone, and what is under its name counts anew.
type ReplacedError struct {
	Name          string
	Created, Anew time.Time
}

// Error says what is to be done.
func (r *ReplacedError) Error() string {
	return fmt.Sprintf("stream %s of %s was deleted, and made anew at %s: what was not read of it is not to be had from it any more",
		r.Name, r.Created.UTC().Format(time.RFC3339), r.Anew.UTC().Format(time.RFC3339))
}

// identityAge is how old the known creation time may be while a stream is read:
// DescribeStreamSummary is answered 20 times a second for a whole account (API
// reference), so that there is room for some hundred processes.
const identityAge = 30 * time.Second

// Replaced is closed when it is noticed that the stream was made anew.
func (s *Stream) Replaced() <-chan struct{} { return s.replaced }

// Watch looks now and then whether the stream was made anew, until it was, or
// ctx ends.
func (s *Stream) Watch(ctx context.Context) {
	for ctx.Err() == nil && s.confirm(ctx, time.Now()) == nil {
		if wait(ctx, time.Now().Add(identityAge)) != nil {
			return
		}
	}
}

// learn compares when the stream was created with what is known.
func (s *Stream) learn(created time.Time) {
	if s.created.IsZero() || created.Equal(s.created) || s.anew != nil {
		return
	}
	s.anew = &ReplacedError{Name: s.name, Created: s.created, Anew: created}
	close(s.replaced)
}

// known fails if it is known that the stream was made anew, and returns when it
// was asked about that last.
func (s *Stream) known() (at time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.anew != nil {
		return s.described, s.anew
	}
	return s.described, nil
}

// confirm fails with a *ReplacedError if the stream was made anew, by what the
// service says after a time. That it does not answer is no error.
func (s *Stream) confirm(ctx context.Context, since time.Time) error {
	if at, err := s.known(); err != nil || at.After(since) {
		return err
	}
	_, _ = s.describe(ctx)
	_, err := s.known()
	return err
}

// glance is confirm, of what may be identityAge old, for one of those who read
// at the same time.
func (s *Stream) glance(ctx context.Context) error {
	at, err := s.known()
	if err != nil || time.Since(at) < identityAge || !s.glancing.TryLock() {
		return err
	}
	defer s.glancing.Unlock()
	if time.Since(s.glanced) < identityAge { // it was not answered
		return nil
	}
	s.glanced = time.Now()
	return s.confirm(ctx, s.glanced)
}

// sure is confirm, but what the service does not answer is an error, too.
func (s *Stream) sure(ctx context.Context, since time.Time) error {
	if at, err := s.known(); err != nil || at.After(since) {
		return err
	}
	_, failed := s.describe(ctx)
	if _, err := s.known(); err != nil {
		return err
	}
	return failed
}

// isReplaced reports whether an error is a *ReplacedError.
func isReplaced(err error) bool {
	var replaced *ReplacedError
	return errors.As(err, &replaced)
}
