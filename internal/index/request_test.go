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
