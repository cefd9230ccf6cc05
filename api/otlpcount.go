package api

import "slices"

// countNamed counts the values that a path of names leads to in valid JSON,
// through lists and objects. It allocates nothing: what is counted here would
// take a hundred times its size when it is decoded.
func countNamed(s *scanner, path [][]string) int {
	s.space()
	switch {
	case s.take('['):
		total := 0
		for first := true; s.element(first) == nil; first = false {
			total += countNamed(s, path)
		}
		return total
	case len(path) == 0 || s.peek() != '{':
		_, _ = s.value()
		return max(0, 1-len(path))
	}
	s.take('{')
	total := 0
	for first := true; ; first = false {
		name, err := s.member(first)
		if err != nil { // the last one, since the JSON is valid
			return total
		}
		if slices.Contains(path[0], string(unquote(name))) {
			total += countNamed(s, path[1:])
		} else {
			_, _ = s.value()
		}
	}
}
