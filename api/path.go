package api

import "strings"

// cleanPath removes doubled slashes and one at the end: exporters join a base
// and a path in every way. They do not follow a redirect after a POST, so such
// a path is served and not corrected.
func cleanPath(path string) string {
	if !strings.Contains(path, "//") && !strings.HasSuffix(path, "/") {
		return path
	}
	var clean strings.Builder
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" {
			clean.WriteString("/" + segment)
		}
	}
	return clean.String()
}
