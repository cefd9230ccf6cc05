package load

import (
	"iter"
	"math/bits"
	"sync"
)

// Set holds numbers of records, at one bit each. It is safe for concurrent
// use; the zero value is empty.
type Set struct {
	mu    sync.Mutex
	words []uint64
	size  uint64
}

// Add puts n into the set and reports whether it was not there before.
func (s *Set) Add(n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	word, bit := n/64, uint64(1)<<(n%64)
	for uint64(len(s.words)) <= word {
		s.words = append(s.words, 0)
	}
	if s.words[word]&bit != 0 {
		return false
	}
	s.words[word] |= bit
	s.size++
	return true
}

// Has reports whether n is in the set.
func (s *Set) Has(n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n/64 < uint64(len(s.words)) && s.words[n/64]&(1<<(n%64)) != 0
}

// Len returns how many numbers are in the set.
func (s *Set) Len() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// All yields the numbers of the set in order. What is added meanwhile may be
// missed.
func (s *Set) All() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := 0; ; i++ {
			s.mu.Lock()
			if i >= len(s.words) {
				s.mu.Unlock()
				return
			}
			word := s.words[i]
			s.mu.Unlock()
			for ; word != 0; word &= word - 1 {
				if !yield(uint64(i)*64 + uint64(bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

// Without returns the numbers that are in this set and not in the other one.
func (s *Set) Without(other *Set) *Set {
	rest := new(Set)
	for n := range s.All() {
		if !other.Has(n) {
			rest.Add(n)
		}
	}
	return rest
}
