package indexing

import (
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/outcome"
	"millrace/internal/sink"
)

// TestAnIndexParksWhenItHasRefusedForLong, and the shard's other records are taken.
func TestAnIndexParksWhenItHasRefusedForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		closed, other := sink.Item{Class: outcome.Transient, IndexAlone: true}, sink.Item{Class: outcome.Transient}
		p := &parker{after: time.Minute, known: &outOfService{}}
		p.learn(circuit.Least, circuit.Least/4)
		if p.parks(closed, "a") {
			t.Error("an index parks at once")
		}
		<-time.After(p.after)
		if !p.parks(closed, "a") {
			t.Error("an index that has refused for long does not park")
		}
		if p.parks(closed, "b") || p.parks(other, "a") {
			t.Error("another index parks, or for another reason")
		}
		if p.learn(circuit.WindowRecords, circuit.WindowRecords); p.parks(closed, "a") {
			t.Error("an index parks while most records are refused")
		}
	})
}

// TestAnIndexIsRememberedForAWhile and forgotten when it takes a record.
func TestAnIndexIsRememberedForAWhile(t *testing.T) {
	t.Parallel()
	var o outOfService
	now := time.Unix(1000, 0)
	if since := o.refused("a", now); !since.Equal(now) {
		t.Errorf("since %v", since)
	}
	if since := o.refused("a", now.Add(time.Minute)); !since.Equal(now) {
		t.Errorf("since %v", since)
	}
	later := now.Add(time.Minute + 2*outFor)
	if since := o.refused("a", later); !since.Equal(later) {
		t.Errorf("after its time since %v", since)
	}
	o.took("b")
	o.took("a")
	if since := o.refused("a", later.Add(time.Second)); since.Equal(later) {
		t.Error("it is remembered though it took a record")
	}
}
