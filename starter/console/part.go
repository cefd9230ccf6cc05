package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Part is what a source last said, and since when it fails.
type Part[T any] struct {
	At    time.Time `json:"at,omitzero"`     // when Value was asked for; zero: there is none yet
	Error string    `json:"error,omitempty"` // why the last attempt failed
	Since time.Time `json:"since,omitzero"`  // since when all fail
	Off   string    `json:"off,omitempty"`   // why it is never asked
	Value T         `json:"value"`
}

// note enters what became of an attempt. A failure keeps the last good value.
func (p *Part[T]) note(asked time.Time, value T, err error) {
	if err == nil {
		*p = Part[T]{At: asked, Value: value}
		return
	}
	if p.Error == "" {
		p.Since = asked
	}
	p.Error = line(err.Error())
}

// longestText bounds in bytes a text of a server or a tenant in the state.
const longestText = 400

// line makes one line of a text, and shortens it.
func line(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= longestText {
		return text
	}
	cut := longestText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// answer is what a source said.
type answer[T any] struct {
	value T
	err   error
}

// follow asks a source again and again, and enters what it says in a part. Its interval
// begins when it has answered: a slow source is asked less often.
func follow[T any](ctx context.Context, w *Watch, part *Part[T], every time.Duration, always bool, ask func(context.Context) (T, error)) {
	for {
		asked := time.Now()
		limited, cancel := context.WithTimeout(ctx, w.settings.Within)
		answered := make(chan answer[T], 1)
		go func() {
			value, err := ask(limited)
			answered <- answer[T]{value, err}
		}()
		var got answer[T]
		select {
		case got = <-answered:
			if got.err != nil && limited.Err() != nil {
				got.err = late(got.err, w.settings.Within)
			}
		case <-limited.Done(): // shown at once, however long it takes to notice
			w.enter(func() { part.note(asked, got.value, late(nil, w.settings.Within)) })
			got = <-answered
			if got.err != nil {
				got.err = late(got.err, w.settings.Within)
			}
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		w.enter(func() { part.note(asked, got.value, got.err) })
		if !w.await(ctx, every, always) {
			return
		}
	}
}

// late says that a source took too long, and what it was at, if it knows better than that.
func late(err error, within time.Duration) error {
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v (--source-timeout)", within)
	}
	return fmt.Errorf("no answer within %v (--source-timeout): %w", within, err)
}
