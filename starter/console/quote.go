package console

import (
	"regexp"
	"strings"
	"unicode"
)

// plain is a word that means itself to a shell.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Quote makes a text one word for a shell, whatever is in it: commands of the page are
// copied. Characters that control a terminal are left out.
func Quote(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, text)
	if plain.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
