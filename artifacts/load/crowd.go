package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// crowd is all nodes and what is counted over them.
type crowd struct {
	server    string
	serverKey key.MachinePublic
	book      *book

	mu       sync.Mutex
	nodes    map[string]*node
	drops    []drop
	troubles map[string]int

	markText                          atomic.Pointer[[]byte]
	registered, registerErrors        atomic.Int64
	streams, messages, peers, patches atomic.Int64
	lastAt                            atomic.Int64 // of the last message, in nanoseconds
}

// drop is a stream that ended and that nobody here ended.
type drop struct {
	At   float64
	Name string
	Why  string
}

func newCrowd() *crowd {
	return &crowd{book: newBook(), nodes: map[string]*node{}, troubles: map[string]int{}}
}

type openWords struct {
	Server string `json:"server"`
}

// open asks the server for its key, as a client does first of all.
func (c *crowd) open(words openWords) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestWithin)
	defer cancel()
	url := fmt.Sprintf("%s/key?v=%d", words.Server, tailcfg.CurrentCapabilityVersion)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, said(answer)
	}
	var told tailcfg.OverTLSPublicKeyResponse
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil {
		return nil, err
	}
	c.server, c.serverKey = words.Server, told.PublicKey
	return map[string]any{"capability": tailcfg.CurrentCapabilityVersion}, nil
}

type joinWords struct {
	Keys  map[string]string `json:"keys"`
	Nodes []struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	} `json:"nodes"`
	AtOnce int     `json:"at_once"`
	Within float64 `json:"within"`
}

// joins is how a wave went: seconds from its start until each node was registered.
type joins struct {
	Began  float64            `json:"began"`
	Ended  float64            `json:"ended"`
	After  map[string]float64 `json:"after"`
	Failed map[string]string  `json:"failed"`
}

// join brings nodes in. It returns when each has registered, or failed.
func (c *crowd) join(words joinWords) (any, error) {
	if err := c.check(words); err != nil {
		return nil, err
	}
	result := joins{Began: now(), After: map[string]float64{}, Failed: map[string]string{}}
	register, cancel := context.WithTimeout(context.Background(), seconds(words.Within))
	defer cancel()
	turn := make(chan struct{}, words.AtOnce)
	var started []*node
	for _, each := range words.Nodes {
		made, err := newNode(c, each.Name)
		if err != nil {
			return nil, err
		}
		ctx, stop := context.WithCancel(context.Background())
		made.cancel = stop
		c.mu.Lock()
		c.nodes[each.Name] = made
		c.mu.Unlock()
		started = append(started, made)
		go made.run(ctx, words.Keys[each.Key], register, turn)
	}
	for _, each := range started {
		if err := <-each.joined; err != nil {
			result.Failed[each.name] = err.Error()
			c.forget(each)
			continue
		}
		result.After[each.name] = each.joinAt - result.Began
	}
	result.Ended = now()
	return result, nil
}

// check finds what is wrong with a request to join, before any node is made.
func (c *crowd) check(words joinWords) error {
	if c.server == "" {
		return errors.New("open: comes before join")
	}
	if words.AtOnce < 1 || words.Within <= 0 {
		return fmt.Errorf("at_once: %d, within: %g: must be above 0", words.AtOnce, words.Within)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	named := map[string]bool{}
	for _, each := range words.Nodes {
		if _, known := words.Keys[each.Key]; !known {
			return fmt.Errorf("nodes: %s: there is no key %q", each.Name, each.Key)
		}
		if c.nodes[each.Name] != nil || named[each.Name] || strings.Contains(each.Name, ".") {
			return fmt.Errorf("nodes: %q: is there already, or holds a dot", each.Name)
		}
		named[each.Name] = true
	}
	return nil
}

func seconds(count float64) time.Duration { return time.Duration(count * float64(time.Second)) }

type expectWords struct {
	Class map[string]string   `json:"class"`
	Sees  map[string][]string `json:"sees"`
}

// expect sets whom every node must see, and judges anew what they see now.
func (c *crowd) expect(words expectWords) (any, error) {
	if err := c.book.set(words.Class, words.Sees); err != nil {
		return nil, err
	}
	at := now()
	for _, each := range c.all() {
		each.view.mu.Lock()
		each.view.judge(c.book, at)
		each.view.mu.Unlock()
	}
	return map[string]any{"at": at}, nil
}

type markWords struct {
	Text string `json:"text"`
}

// mark forgets the last mark and looks for a new one.
func (c *crowd) mark(words markWords) (any, error) {
	if words.Text == "" {
		return nil, errors.New("text: is empty")
	}
	text := []byte(words.Text)
	for _, each := range c.all() {
		each.view.mu.Lock()
		each.view.markAt = 0
		each.view.mu.Unlock()
	}
	c.markText.Store(&text)
	return map[string]any{"at": now()}, nil
}

type leaveWords struct {
	Names  []string `json:"names"`
	Logout bool     `json:"logout"`
	AtOnce int      `json:"at_once"`
}

// leave ends some nodes, or all of them without names.
func (c *crowd) leave(words leaveWords) (any, error) {
	leaving := c.all()
	if len(words.Names) > 0 {
		leaving = nil
		for _, name := range words.Names {
			found := c.get(name)
			if found == nil {
				return nil, fmt.Errorf("names: there is no node %q", name)
			}
			leaving = append(leaving, found)
		}
	}
	failed := map[string]string{}
	if words.Logout {
		failed = c.logout(leaving, max(words.AtOnce, 1))
	}
	c.end(leaving)
	return map[string]any{"ended": len(leaving), "failed": failed}, nil
}

// logout tells the server that nodes leave, some of them at once.
func (c *crowd) logout(leaving []*node, atOnce int) map[string]string {
	failed := map[string]string{}
	var lock sync.Mutex
	var all sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for _, each := range leaving {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			if err := each.logout(context.Background()); err != nil {
				lock.Lock()
				defer lock.Unlock()
				failed[each.name] = err.Error()
			}
		})
	}
	all.Wait()
	return failed
}

// end ends nodes, all of them for nil, and returns when they have.
func (c *crowd) end(leaving []*node) {
	if leaving == nil {
		leaving = c.all()
	}
	for _, each := range leaving {
		each.cancel()
	}
	for _, each := range leaving {
		<-each.ended
		c.forget(each)
	}
}

func (c *crowd) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := make([]*node, 0, len(c.nodes))
	for _, each := range c.nodes {
		found = append(found, each)
	}
	return found
}

func (c *crowd) get(name string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[name]
}

func (c *crowd) forget(gone *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nodes[gone.name] == gone {
		delete(c.nodes, gone.name)
	}
}

// What nodes tell

func (c *crowd) heard(at float64, peers, patches int) {
	c.messages.Add(1)
	c.peers.Add(int64(peers))
	c.patches.Add(int64(patches))
	c.lastAt.Store(int64(at * 1e9))
}

// dropped notes the end of a stream that spoke, and each vain try to get one as a trouble.
func (c *crowd) dropped(name string, spoke bool, err error) {
	if !spoke {
		c.trouble("stream", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops = append(c.drops, drop{At: now(), Name: name, Why: kind(err)})
}

func (c *crowd) trouble(where string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.troubles[where+": "+kind(err)]++
}

// kind is an error without what differs between two nodes: the last of its words.
func kind(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if last := strings.LastIndex(text, ": "); strings.Contains(text, "->") && last >= 0 {
		text = text[last+2:]
	}
	return text[:min(len(text), 100)]
}
