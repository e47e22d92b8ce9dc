package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookEvery = 50 * time.Millisecond // the times themselves are taken by the nodes
	named     = 20                    // nodes that an answer names; it counts them all
)

// open and close say when a stream spoke first, and that it is over.
func (v *view) open(at float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.streamAt = at
}

func (v *view) close() (spoke bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	spoke = v.streamAt > 0
	v.streamAt, v.settledAt = 0, 0
	return spoke
}

func (v *view) marked(at float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.markAt == 0 {
		v.markAt = at
	}
}

// conditions give when a node met each; 0 for not yet.
var conditions = map[string]func(*view, float64) float64{
	"streaming": func(v *view, since float64) float64 {
		if v.streamAt < since {
			return 0
		}
		return v.streamAt
	},
	"settled": func(v *view, _ float64) float64 { return v.settledAt },
	"marked":  func(v *view, _ float64) float64 { return v.markAt },
}

type waitWords struct {
	For    string  `json:"for"`
	Since  float64 `json:"since"`
	Within float64 `json:"within"`
	Quiet  float64 `json:"quiet"`
}

// waited is when each node met a condition, in seconds after `since` and in order.
type waited struct {
	Nodes   int       `json:"nodes"`
	After   []float64 `json:"after"`
	Missing []string  `json:"missing"`
	Lacking int       `json:"lacking"`
	Ended   float64   `json:"ended"`
}

// wait returns when all nodes meet a condition, or when time is up and some do not.
func (c *crowd) wait(words waitWords) (any, error) {
	met, known := conditions[words.For]
	if !known && words.For != "quiet" {
		return nil, fmt.Errorf("for: %q is none of streaming, settled, marked, quiet", words.For)
	}
	if words.For == "quiet" && words.Quiet <= 0 {
		return nil, errors.New("quiet: must be above 0")
	}
	deadline := now() + words.Within
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var result waited
		if known {
			result = c.look(met, words.Since)
		} else {
			result = c.listen(words)
		}
		if result.Lacking == 0 || now() > deadline {
			result.Ended = now()
			return result, nil
		}
		<-tick.C
	}
}

func (c *crowd) look(met func(*view, float64) float64, since float64) waited {
	result := waited{After: []float64{}, Missing: []string{}}
	for _, each := range c.all() {
		each.view.mu.Lock()
		at := met(&each.view, since)
		each.view.mu.Unlock()
		result.Nodes++
		if at > 0 {
			result.After = append(result.After, max(at-since, 0))
			continue
		}
		result.Lacking++
		if len(result.Missing) < named {
			result.Missing = append(result.Missing, each.name)
		}
	}
	sort.Float64s(result.After)
	return result
}

// listen tells when the last message came, once nothing has come for the time of quiet.
func (c *crowd) listen(words waitWords) waited {
	last := max(float64(c.lastAt.Load())/1e9, words.Since)
	result := waited{Nodes: len(c.all()), After: []float64{last - words.Since}, Missing: []string{}}
	if now()-last < words.Quiet {
		result.Lacking = 1
	}
	return result
}

// progress is the line that comes while a request takes its time.
func (c *crowd) progress() map[string]any {
	streaming, settled := 0, 0
	nodes := c.all()
	for _, each := range nodes {
		each.view.mu.Lock()
		if each.view.streamAt > 0 {
			streaming++
		}
		if each.view.settledAt > 0 {
			settled++
		}
		each.view.mu.Unlock()
	}
	c.mu.Lock()
	drops := len(c.drops)
	c.mu.Unlock()
	return map[string]any{
		"event": "progress", "at": now(), "nodes": len(nodes), "registered": c.registered.Load(),
		"streaming": streaming, "settled": settled, "messages": c.messages.Load(), "drops": drops,
	}
}

type reportWords struct {
	Since float64 `json:"since"`
}

// report is everything that is counted, and every node that sees the wrong peers.
func (c *crowd) report(words reportWords) (any, error) {
	result := c.progress()
	delete(result, "event")
	bad, count, total := map[string]wrong{}, 0, 0
	for _, each := range c.all() {
		each.view.mu.Lock()
		total += len(each.view.peers)
		each.view.mu.Unlock()
		found, amiss := each.view.wrong(c.book)
		if !amiss {
			continue
		}
		if count++; count <= named {
			bad[each.name] = found
		}
	}
	result["wrong"], result["wrong_nodes"], result["peers_seen"] = bad, count, total
	result["drops_since"], result["troubles"] = c.dropsSince(words.Since)
	result["streams"], result["register_errors"] = c.streams.Load(), c.registerErrors.Load()
	result["peers_sent"], result["patches"] = c.peers.Load(), c.patches.Load()
	usage, err := own()
	result["own"] = usage
	return result, err
}

// dropsSince counts dropped streams by their reason, and copies the other troubles.
func (c *crowd) dropsSince(since float64) (map[string]int, map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	drops, troubles := map[string]int{}, map[string]int{}
	for _, each := range c.drops {
		if each.At >= since {
			drops[each.Why]++
		}
	}
	for what, count := range c.troubles {
		troubles[what] = count
	}
	return drops, troubles
}

// own is what this program itself takes.
func own() (map[string]any, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return nil, err
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	return map[string]any{
		"cpu_s": cpu, "peak_rss_kib": usage.Maxrss, "descriptors": len(files),
		"goroutines": runtime.NumGoroutine(),
	}, nil
}
