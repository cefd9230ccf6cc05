package index

import "testing"

func TestJoinEscapesNames(t *testing.T) {
	for want, parts := range map[string][]string{
		"/_snapshot/a%2Fb/c%3Fd%23e": {"_snapshot", "a/b", "c?d#e"},
		"/%3Clogs-%7Bnow%7D%3E":      {"<logs-{now}>"},
		"/one-%2A,-two/_refresh":     {"one-*,-two", "_refresh"},
	} {
		if got := join(parts...); got != want {
			t.Errorf("join(%q) = %s, want %s", parts, got, want)
		}
	}
}

// An empty name must not make a request one about all of them.
func TestEmptyNamesAreNotSent(t *testing.T) {
	for _, path := range []string{join(""), join("", "_close"), join("_snapshot", ""), join("_snapshot", "", "one")} {
		if _, err := (request{method: "DELETE", path: path}).http(t.Context()); err == nil {
			t.Errorf("%s is sent", path)
		}
	}
}
