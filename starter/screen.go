package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// screen is where the command prints to. What tenants have sent stands in errors and
// dead letters, so control characters are escaped as in JSON: a record could else move
// the cursor, rename the window, or paste into the shell of who looks at it.
type screen struct {
	to   io.Writer
	rest []byte // the beginning of a character whose end comes with the next write
}

// Write implements io.Writer.
func (s *screen) Write(text []byte) (int, error) {
	var safe strings.Builder
	left := append(s.rest, text...)
	for len(left) > 0 {
		if !utf8.FullRune(left) {
			break
		}
		r, size := utf8.DecodeRune(left)
		switch {
		case r == utf8.RuneError && size == 1: // no character, which some terminals take for one of Latin 1
			safe.WriteRune(utf8.RuneError)
		case isPlain(r):
			safe.WriteRune(r)
		default:
			fmt.Fprintf(&safe, `\u%04x`, r)
		}
		left = left[size:]
	}
	s.rest = append([]byte(nil), left...)
	if _, err := io.WriteString(s.to, safe.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// redraw replaces the last line of a terminal.
func (s *screen) redraw(line string) {
	_, _ = io.WriteString(s.to, "\r\x1b[K")
	_, _ = s.Write([]byte(line))
}

// isPlain reports whether a character may reach a terminal as it is: none that controls
// it, or that changes the direction in which the rest is read.
func isPlain(r rune) bool {
	return r == '\n' || r == '\t' || !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r)
}

// isScreen reports whether what is printed goes to a terminal.
func isScreen(out output) bool {
	s, ok := out.(*screen)
	if !ok {
		return false
	}
	file, ok := s.to.(*os.File)
	return ok && isTerminal(file)
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
