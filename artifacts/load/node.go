package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"tailscale.com/control/ts2021"
	"tailscale.com/net/netmon"
	"tailscale.com/net/tsdial"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
	"tailscale.com/util/backoff"
	"tailscale.com/util/zstdframe"
)

// As Tailscale's own client has them (control/controlclient).
const (
	longestBackOff = 30 * time.Second
	silence        = 120 * time.Second // without a message, not even a keep-alive, the stream is dead
)

const (
	dialWithin    = 10 * time.Second
	requestWithin = 60 * time.Second // for what is no stream
	largest       = 64 << 20         // bytes of a message
	lastWords     = 200              // bytes of an error's body that are told
)

// errRefused is the server's own no: asking again would not help.
var errRefused = errors.New("refused")

// node is one virtual node.
type node struct {
	name    string
	number  int // in the book
	crowd   *crowd
	machine key.MachinePrivate
	key     key.NodePrivate
	disco   key.DiscoPublic
	noise   *ts2021.Client
	view    view
	joinAt  float64
	joined  chan error // one answer
	streams int
	cancel  context.CancelFunc
	ended   chan struct{}
}

// newNode is a node that has not registered yet.
func newNode(nodes *crowd, name string) (*node, error) {
	dialer := tsdial.NewFromFuncForDebug(logger.Discard, (&net.Dialer{Timeout: dialWithin}).DialContext)
	monitor := netmon.NewStatic()
	dialer.SetNetMon(monitor)
	machine := key.NewMachine()
	noise, err := ts2021.NewClient(ts2021.ClientOpts{
		ServerURL: nodes.server, ServerPubKey: nodes.serverKey, PrivKey: machine,
		Dialer: dialer, NetMon: monitor, Logf: logger.Discard,
	})
	if err != nil {
		return nil, err
	}
	made := &node{
		name: name, number: nodes.book.number(name), crowd: nodes,
		machine: machine, key: key.NewNode(), disco: key.NewDisco().Public(), noise: noise,
		joined: make(chan error, 1), ended: make(chan struct{}),
	}
	made.view = view{self: made.number, peers: map[tailcfg.NodeID]int{}}
	return made, nil
}

// run registers and then holds the stream, anew each time that it breaks, until the context ends.
func (n *node) run(ctx context.Context, authKey string, register context.Context, turn chan struct{}) {
	defer close(n.ended)
	defer n.noise.Close()
	err := n.register(register, authKey, turn)
	if err != nil {
		n.joined <- err
		return
	}
	n.joinAt = now()
	n.crowd.registered.Add(1)
	n.joined <- nil
	pause := backoff.NewBackoff("map", logger.Discard, longestBackOff)
	for ctx.Err() == nil {
		err := n.stream(ctx, pause)
		spoke := n.view.close()
		if ctx.Err() == nil {
			n.crowd.dropped(n.name, spoke, err)
			pause.BackOff(ctx, err)
		}
	}
}

// register asks until the server lets the node in, or says no, or time is up.
func (n *node) register(ctx context.Context, authKey string, turn chan struct{}) error {
	pause := backoff.NewBackoff("register", logger.Discard, longestBackOff)
	var last error
	for {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return errors.Join(errors.New("not within its time"), last)
		}
		last = n.ask(ctx, &tailcfg.RegisterRequest{
			Version: tailcfg.CurrentCapabilityVersion, NodeKey: n.key.Public(), Hostinfo: n.hostinfo(),
			Auth: &tailcfg.RegisterResponseAuth{AuthKey: authKey},
		})
		<-turn
		if last == nil || errors.Is(last, errRefused) {
			return last
		}
		n.crowd.registerErrors.Add(1)
		pause.BackOff(ctx, last)
	}
}

// logout tells the server to forget the node, or to count it as expired.
func (n *node) logout(ctx context.Context) error {
	return n.ask(ctx, &tailcfg.RegisterRequest{
		Version: tailcfg.CurrentCapabilityVersion, NodeKey: n.key.Public(), Hostinfo: n.hostinfo(),
		Expiry: time.Unix(123, 0), // as the client does: any time in the far past
	})
}

// ask sends a registration. A node that logs out is not authorized afterwards, as it wants.
func (n *node) ask(ctx context.Context, request *tailcfg.RegisterRequest) error {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	answer, err := n.noise.Post(ctx, "/machine/register", n.key.Public(), request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return said(answer)
	}
	var told tailcfg.RegisterResponse
	if err := json.NewDecoder(answer.Body).Decode(&told); err != nil {
		return err
	}
	switch {
	case told.Error != "":
		return fmt.Errorf("%w: %s", errRefused, told.Error)
	case request.Auth != nil && !told.MachineAuthorized:
		return fmt.Errorf("%w: the node is not authorized", errRefused)
	}
	return nil
}

// said is what the server answered instead of what was asked for.
func said(answer *http.Response) error {
	words, err := io.ReadAll(io.LimitReader(answer.Body, lastWords))
	text := strings.TrimSpace(string(words))
	told := errors.Join(fmt.Errorf("status %d: %s", answer.StatusCode, text), err)
	if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
		return fmt.Errorf("%w: %w", errRefused, told)
	}
	return told
}

// stream polls for network maps and reads them; it returns when the stream is over.
func (n *node) stream(ctx context.Context, pause *backoff.Backoff) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(fmt.Errorf("silent for %v", silence)) })
	defer watchdog.Stop()
	answer, err := n.noise.Post(ctx, "/machine/map", n.key.Public(), n.poll())
	if err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return said(answer)
	}
	n.crowd.streams.Add(1)
	var buffers [2][]byte
	for first := true; ; {
		text, err := readMessage(answer.Body, &buffers)
		if err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		watchdog.Reset(silence)
		mapped, err := n.hear(ctx, text, first)
		if err != nil {
			return err
		}
		if first && mapped {
			first = false
			pause.Reset()
			n.streams++
		}
	}
}

// readMessage is the next message of a stream, valid until the next one is read.
func readMessage(from io.Reader, buffers *[2][]byte) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	length := int(binary.LittleEndian.Uint32(size[:]))
	if length > largest {
		return nil, fmt.Errorf("a message of %d bytes", length)
	}
	if cap(buffers[0]) < length {
		buffers[0] = make([]byte, length)
	}
	if _, err := io.ReadFull(from, buffers[0][:length]); err != nil {
		return nil, err
	}
	text, err := zstdframe.AppendDecode(buffers[1][:0], buffers[0][:length], zstdframe.MaxDecodedSize(largest))
	buffers[1] = text
	return text, err
}

// peer and message are the parts of tailcfg.Node and tailcfg.MapResponse that count here; to decode
// the whole would cost as much as the server spends on making it.
type peer struct {
	ID   tailcfg.NodeID
	Name string
}

type message struct {
	KeepAlive         bool
	PingRequest       *tailcfg.PingRequest
	Peers             []peer
	PeersChanged      []peer
	PeersRemoved      []tailcfg.NodeID
	PeersChangedPatch []struct{}
}

// hear takes in one message, and says whether it was of the network map: a server that is behind may
// send a keep-alive before the first one. `first` says that there was none yet.
func (n *node) hear(ctx context.Context, text []byte, first bool) (mapped bool, err error) {
	var told message
	if err := json.Unmarshal(text, &told); err != nil {
		return false, fmt.Errorf("a message: %w", err)
	}
	if told.PingRequest != nil {
		go n.answerPing(ctx, told.PingRequest)
	}
	if told.KeepAlive {
		return false, nil
	}
	at := now()
	n.crowd.heard(at, len(told.Peers)+len(told.PeersChanged), len(told.PeersChangedPatch))
	if mark := n.crowd.markText.Load(); mark != nil && bytes.Contains(text, *mark) {
		n.view.marked(at)
	}
	if first {
		n.view.open(at)
		if n.streams == 0 {
			go n.tellWhere(ctx)
		}
	}
	told.PeersChanged = append(told.PeersChanged, told.Peers...)
	all := first || len(told.Peers) > 0
	n.view.apply(n.crowd.book, change{all, told.PeersChanged, told.PeersRemoved}, at)
	return true, nil
}

// poll asks for the stream. The first one of a client does not know its endpoints yet.
func (n *node) poll() *tailcfg.MapRequest {
	request := &tailcfg.MapRequest{
		Version: tailcfg.CurrentCapabilityVersion, NodeKey: n.key.Public(), DiscoKey: n.disco,
		Stream: true, KeepAlive: true, Compress: "zstd", Hostinfo: n.hostinfo(),
	}
	if n.streams > 0 {
		n.addWhere(request)
	}
	return request
}

// tellWhere is the update by which a client tells its endpoints and its relay, once it knows them.
func (n *node) tellWhere(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	request := &tailcfg.MapRequest{
		Version: tailcfg.CurrentCapabilityVersion, NodeKey: n.key.Public(), DiscoKey: n.disco,
		OmitPeers: true, KeepAlive: true, Compress: "zstd", Hostinfo: n.hostinfo(),
	}
	n.addWhere(request)
	answer, err := n.noise.Post(ctx, "/machine/map", n.key.Public(), request)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		err = errors.Join(err, answer.Body.Close())
	}
	if err != nil && ctx.Err() == nil {
		n.crowd.trouble("update", err)
	}
}

func (n *node) addWhere(request *tailcfg.MapRequest) {
	low, high := byte(n.number), byte(n.number>>8)
	for _, network := range [][2]byte{{10, 77}, {198, 18}} { // at home, and as the world sees it
		address := netip.AddrFrom4([4]byte{network[0], network[1], high, low})
		request.Endpoints = append(request.Endpoints, netip.AddrPortFrom(address, 41641))
	}
	request.EndpointTypes = []tailcfg.EndpointType{tailcfg.EndpointLocal, tailcfg.EndpointSTUN}
	request.Hostinfo.NetInfo = &tailcfg.NetInfo{
		PreferredDERP: 900, WorkingUDP: "true", MappingVariesByDestIP: "false", WorkingIPv6: "false",
		OSHasIPv6: "true", DERPLatency: map[string]float64{"900-v4": 0.004},
	}
}

func (n *node) hostinfo() *tailcfg.Hostinfo {
	return &tailcfg.Hostinfo{
		Hostname: n.name, OS: "linux", OSVersion: "6.1", Distro: "debian", DistroVersion: "12",
		GoArch: "amd64", IPNVersion: "mesh-load", BackendLogID: fmt.Sprintf("%064x", n.number+1),
		Services: []tailcfg.Service{
			{Proto: tailcfg.PeerAPI4, Port: 40000}, {Proto: tailcfg.PeerAPI6, Port: 40000},
		},
	}
}

// answerPing tells the server that the node is there.
func (n *node) answerPing(ctx context.Context, asked *tailcfg.PingRequest) {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, asked.URL, nil)
	if err == nil && asked.URLIsNoise && asked.Types == "" {
		var answer *http.Response
		if answer, err = n.noise.Do(request); err == nil {
			err = answer.Body.Close()
		}
	}
	if err != nil && ctx.Err() == nil {
		n.crowd.trouble("ping", err)
	}
}
