package main

import (
	"maps"
	"testing"
)

// TestObjectOfEarlierVersionIsReadUnchanged also by the plain reader, which goes
// by the very name of a member.
func TestObjectOfEarlierVersionIsReadUnchanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	found := gathered{expected: expected{ids: map[string]bool{}, groups: map[string]map[string]uint64{"type": {"log": 5}, "tenant": {}}}}
	if err := addOld(dir, &found); err != nil {
		t.Fatal(err)
	}
	ids, err := readIDs(dir)
	if err != nil || len(ids) != len(oldLines) || !maps.Equal(ids, found.ids) {
		t.Errorf("it reads %v, %v, want %v", ids, err, found.ids)
	}
	if found.objects != 1 || found.bytes == 0 || found.groups["type"]["log"] != 7 || found.groups["tenant"][oldTenant] != 2 {
		t.Errorf("it expects %+v", found)
	}
}
