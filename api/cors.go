package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Origins are the web origins whose pages may post telemetry, each as a browser
// names it (https://shop.example), or * for all. Without any, the collector
// says nothing of CORS, and a browser lets no page post to it.
type Origins []string

// anyOrigin stands for all of them.
const anyOrigin = "*"

// Validate reports what no browser would ever send.
func (o Origins) Validate() error {
	var errs []error
	for _, origin := range o {
		if err := validateOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("--cors-origins: %q %w", origin, err))
		}
	}
	return errors.Join(errs...)
}

func validateOrigin(origin string) error {
	if origin == anyOrigin {
		return nil
	}
	parsed, err := url.Parse(origin)
	if err != nil || parsed.Scheme == "" || parsed.Host == "" {
		return errors.New("is neither * nor an origin such as https://shop.example")
	}
	defaultPort := map[string]string{"http": "80", "https": "443"}[parsed.Scheme]
	switch {
	case origin != strings.ToLower(parsed.Scheme+"://"+parsed.Host):
		return errors.New("has more than scheme, host and port, or is not in lower case")
	case parsed.Port() != "" && parsed.Port() == defaultPort:
		return errors.New("names the default port, which browsers leave out")
	}
	return nil
}

// preflightAge is how long a browser may remember the answer to a preflight.
// Chromium caps it there.
const preflightAge = 2 * time.Hour

// withOrigins lets pages of the origins read every answer, errors and 401
// included: without that, an exporter in a browser cannot tell a 429 from a
// network that is down. Keys travel in headers that scripts set, so
// credentials, which are cookies here, are not allowed.
func withOrigins(allowed Origins, next http.Handler) http.Handler {
	if len(allowed) == 0 {
		return next
	}
	all := slices.Contains(allowed, anyOrigin)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		if all {
			header.Set("Access-Control-Allow-Origin", anyOrigin)
		} else {
			header.Add("Vary", "Origin") // also without one: no cache may give this answer to an origin
			if origin := r.Header.Get("Origin"); slices.Contains(allowed, origin) {
				header.Set("Access-Control-Allow-Origin", origin)
			}
		}
		header.Set("Access-Control-Expose-Headers", "Retry-After, "+requestIDHeader)
		next.ServeHTTP(w, r)
	})
}

// isPreflight reports whether a browser asks what it may send (Fetch standard,
// CORS-preflight request).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// answerPreflight says what a page may send: a POST with whatever headers it
// asks for, since those that mean nothing here do no harm. It needs no key:
// browsers send none. Of an origin that is not allowed the browser learns
// nothing, and gives up.
func answerPreflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Add("Vary", "Access-Control-Request-Method")
	header.Add("Vary", "Access-Control-Request-Headers")
	header.Del("Access-Control-Expose-Headers") // of the actual answer
	if header.Get("Access-Control-Allow-Origin") == "" {
		(&refusal{status: http.StatusForbidden, reason: "pages of this origin may not post telemetry"}).write(w, plainForm)
		return
	}
	header.Set("Access-Control-Allow-Methods", http.MethodPost)
	if asked := r.Header.Values("Access-Control-Request-Headers"); len(asked) > 0 {
		header.Set("Access-Control-Allow-Headers", strings.Join(asked, ", "))
	} else {
		header.Set("Access-Control-Allow-Headers", "Authorization, Content-Encoding, Content-Type, Idempotency-Key, X-Api-Key")
	}
	header.Set("Access-Control-Max-Age", strconv.Itoa(int(preflightAge.Seconds())))
	w.WriteHeader(http.StatusNoContent)
}
