// Command mesh-load runs many virtual nodes against one Headscale: each speaks the control protocol
// as a Tailscale client does, holds the stream of network maps, and keeps what it is told of its
// peers. None of them has a tunnel.
//
// One JSON request a line on standard input, {"do": …}, is answered by one line on standard output,
// {"answer": …} or {"trouble": "text"}. While a request takes its time, lines {"event": "progress"}
// come between. Pre-auth keys come by standard input only. The end of standard input ends every
// node; the server keeps what it was not told to forget. Times are seconds of the monotonic clock
// (CLOCK_MONOTONIC), which all processes of a machine share. SSL_CERT_FILE names other trust.
//
//	open    server                        the server's URL, before anything else
//	join    keys, nodes, at_once, within  bring nodes in; each names one of the keys
//	expect  class, sees                   whom every node must see, by classes
//	mark    text                          look for a text in what the server sends from now on
//	wait    for, since, within, quiet     until all nodes stream, are settled or saw the mark, or
//	                                      until nothing came for so many seconds
//	report  since                         counts, drops since then, nodes with wrong peers
//	end     names, logout, at_once        end some nodes, or all; logout tells the server
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	longestLine   = 64 << 20 // bytes of a request; keys and classes of some thousand nodes are 1 MB
	progressEvery = time.Second
)

// now is the monotonic clock in seconds.
func now() float64 {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
		log.Fatalf("CLOCK_MONOTONIC: %v", err)
	}
	return float64(at.Sec) + float64(at.Nsec)/1e9
}

// output writes whole lines, from several goroutines.
type output struct {
	mu   sync.Mutex
	json *json.Encoder
}

func (o *output) say(line any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.json.Encode(line); err != nil {
		log.Fatalf("standard output: %v", err)
	}
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("mesh-load: ")
	out := &output{json: json.NewEncoder(os.Stdout)}
	nodes := newCrowd()
	out.say(map[string]any{"answer": "ready"})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		answer, err := serve(nodes, lines.Bytes(), out)
		if err != nil {
			out.say(map[string]any{"trouble": err.Error()})
			continue
		}
		out.say(map[string]any{"answer": answer})
	}
	nodes.end(nil)
	if err := lines.Err(); err != nil {
		log.Fatalf("standard input: %v", err)
	}
}

// serve does what one line asks for, and tells of progress meanwhile.
func serve(nodes *crowd, line []byte, out *output) (any, error) {
	var head struct {
		Do string `json:"do"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, fmt.Errorf("not a request: %w", err)
	}
	command, known := commands[head.Do]
	if !known {
		return nil, fmt.Errorf("do: %q is no command", head.Do)
	}
	done := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				out.say(nodes.progress())
			}
		}
	})
	defer talking.Wait()
	defer close(done)
	return command(nodes, line)
}

var commands = map[string]func(*crowd, []byte) (any, error){
	"open":   asked((*crowd).open),
	"join":   asked((*crowd).join),
	"expect": asked((*crowd).expect),
	"mark":   asked((*crowd).mark),
	"wait":   asked((*crowd).wait),
	"report": asked((*crowd).report),
	"end":    asked((*crowd).leave),
}

// asked reads the words of a request for the command that they are for.
func asked[Words any](command func(*crowd, Words) (any, error)) func(*crowd, []byte) (any, error) {
	return func(nodes *crowd, line []byte) (any, error) {
		var words Words
		if err := json.Unmarshal(line, &words); err != nil {
			return nil, err
		}
		return command(nodes, words)
	}
}
