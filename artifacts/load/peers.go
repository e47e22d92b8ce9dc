package main

import (
	"fmt"
	"strings"
	"sync"

	"tailscale.com/tailcfg"
)

// book knows every name of the mesh by a number, and whom each node must see.
//
// Nodes come in classes: all of a class see the same classes. What is in no class is seen by nobody.
type book struct {
	mu      sync.RWMutex
	numbers map[string]int
	names   []string
	class   []int // by number; 0 for none
	members []int // by class: how many
	sees    [][]bool
}

func newBook() *book {
	return &book{numbers: map[string]int{}, members: []int{0}, sees: [][]bool{{false}}}
}

// number is that of a name, which the book takes up where it is new. Full names lose their domain.
func (b *book) number(name string) int {
	name, _, _ = strings.Cut(name, ".")
	b.mu.RLock()
	number, known := b.numbers[name]
	b.mu.RUnlock()
	if known {
		return number
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.add(name)
}

func (b *book) add(name string) int {
	if number, known := b.numbers[name]; known {
		return number
	}
	number := len(b.names)
	b.numbers[name], b.names, b.class = number, append(b.names, name), append(b.class, 0)
	return number
}

// set replaces all classes, by name, and whom they see.
func (b *book) set(class map[string]string, sees map[string][]string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	numbers := map[string]int{}
	for name := range sees {
		numbers[name] = len(numbers) + 1
	}
	table := make([][]bool, len(numbers)+1)
	for i := range table {
		table[i] = make([]bool, len(table))
	}
	for name, others := range sees {
		for _, other := range others {
			if numbers[other] == 0 {
				return fmt.Errorf("sees: %s: %q is no class", name, other)
			}
			table[numbers[name]][numbers[other]] = true
		}
	}
	for name, its := range class {
		if numbers[its] == 0 {
			return fmt.Errorf("class: %s: %q is no class of sees", name, its)
		}
	}
	b.sees, b.members = table, make([]int, len(table))
	clear(b.class)
	for name, its := range class {
		number := b.add(name)
		b.class[number] = numbers[its]
		b.members[numbers[its]]++
	}
	return nil
}

// wanted is how many peers a node must see.
func (b *book) wanted(node int) int {
	count := 0
	for other, seen := range b.sees[b.class[node]] {
		if seen {
			count += b.members[other]
		}
	}
	if b.sees[b.class[node]][b.class[node]] {
		count-- // not itself
	}
	return count
}

// seen says whether a node must see another.
func (b *book) seen(node, other int) bool {
	return node != other && b.sees[b.class[node]][b.class[other]]
}

// view is what one node was told of its peers.
type view struct {
	mu        sync.Mutex
	self      int
	peers     map[tailcfg.NodeID]int
	streamAt  float64 // when the present stream began to speak; 0 without one
	settledAt float64 // since when the peers are exactly the wanted ones; 0 when they are not
	markAt    float64
}

// change is what one message does to the peers.
type change struct {
	all     bool // what follows are all peers
	peers   []peer
	removed []tailcfg.NodeID
}

func (v *view) apply(b *book, told change, at float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if told.all {
		clear(v.peers)
	}
	for _, each := range told.peers {
		v.peers[each.ID] = b.number(each.Name)
	}
	for _, gone := range told.removed {
		delete(v.peers, gone)
	}
	v.judge(b, at)
}

// judge compares the peers with the wanted ones; the view is locked.
func (v *view) judge(b *book, at float64) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	right := v.streamAt > 0 && len(v.peers) == b.wanted(v.self)
	distinct := make(map[int]struct{}, len(v.peers))
	if right {
		for _, other := range v.peers {
			distinct[other] = struct{}{}
			right = right && b.seen(v.self, other)
		}
		right = right && len(distinct) == len(v.peers)
	}
	switch {
	case !right:
		v.settledAt = 0
	case v.settledAt == 0:
		v.settledAt = at
	}
}

// wrong is what is amiss with a node that is not settled: names that are missing, names too many, or
// just that it has no stream now.
type wrong struct {
	Missing   []string `json:"missing"`
	Extra     []string `json:"extra"`
	Peers     int      `json:"peers"`
	Wanted    int      `json:"wanted"`
	Streaming bool     `json:"streaming"`
}

func (v *view) wrong(b *book) (wrong, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.settledAt > 0 {
		return wrong{}, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	found := wrong{
		Missing: []string{}, Extra: []string{}, Peers: len(v.peers), Wanted: b.wanted(v.self),
		Streaming: v.streamAt > 0,
	}
	here := map[int]bool{}
	for _, other := range v.peers {
		if here[other] || !b.seen(v.self, other) {
			found.Extra = append(found.Extra, b.names[other])
		}
		here[other] = true
	}
	for other, name := range b.names {
		if b.seen(v.self, other) && !here[other] {
			found.Missing = append(found.Missing, name)
		}
	}
	return found, true
}
