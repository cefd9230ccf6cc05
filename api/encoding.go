package api

import (
	"net/http"
	"strings"
)

// contentEncoding returns how a body is compressed: "" where it is not, gzip or
// zstd. Anything else is not supported, and neither is a body that was
// compressed more than once: each time multiplies what a few bytes unpack to.
// Names have no case, x-gzip is gzip (RFC 9110, 8.4.1), and identity changes
// nothing, whether it stands alone or in a list.
func contentEncoding(header http.Header) (encoding string, supported bool) {
	for name := range strings.SplitSeq(strings.Join(header.Values("Content-Encoding"), ","), ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		switch name {
		case "", "identity":
			continue
		case "x-gzip":
			name = "gzip"
		}
		if encoding != "" || (name != "gzip" && name != "zstd") {
			return "", false
		}
		encoding = name
	}
	return encoding, true
}

// mediaTypeOf returns the media type of a Content-Type in lower case, as far as
// it can be told: parameters, even malformed ones, say nothing that matters
// here, since everything that agents send is UTF-8 or binary.
func mediaTypeOf(contentType string) string {
	if end := strings.IndexAny(contentType, ";,"); end >= 0 {
		contentType = contentType[:end]
	}
	return strings.ToLower(strings.TrimSpace(contentType))
}
