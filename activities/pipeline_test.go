package activities

import "testing"

// The memory of a page goes back once, with the last of its records, however
// they were spread over chunks.
func TestMemoryGoesBackWithTheLastRecord(t *testing.T) {
	t.Parallel()
	returned := map[string]int{}
	lend := func(name string, records int64) *loan {
		l := &loan{release: func() { returned[name]++ }}
		l.left.Store(records)
		return l
	}
	first, second := lend("first", 3), lend("second", 2)
	var one, other loans
	for _, from := range []*loan{first, first, second} {
		one.add(from)
	}
	for _, from := range []*loan{first, second} {
		other.add(from)
	}
	other.giveBack()
	if len(returned) > 0 {
		t.Errorf("with records still in use, %v went back", returned)
	}
	one.giveBack()
	one.giveBack()
	if returned["first"] != 1 || returned["second"] != 1 {
		t.Errorf("%v went back", returned)
	}
}
