package mapper

import (
	"fmt"
	"reflect"

	"github.com/juanfont/headscale/hscontrol/types"
	"github.com/juanfont/headscale/hscontrol/types/change"
	"tailscale.com/tailcfg"
)

// together makes one change of those that a node is told in a row of other nodes: that they are
// there, or what is new with them. The order stays, and so does everything else of a bundle: what
// concerns the node itself, removals, policy, DNS, pings.
//
// The entry of a peer is made from what is known when the bundle is worked on, which is never older
// than the changes in it. So a patch says nothing new about a peer whose entry goes out beside it,
// and what it says may be out of date; it is left out.
func together(changes []change.Change, node types.NodeID) []change.Change {
	var result, row []change.Change
	for _, each := range changes {
		if ofPeers(each, node) {
			row = append(row, each)
			continue
		}
		result = append(result, joined(row)...)
		result, row = append(result, each), nil
	}
	return append(result, joined(row)...)
}

// ofPeers says whether a change tells a node of other nodes, and nothing else. A part of a change
// that is not known here keeps it as it is.
func ofPeers(each change.Change, node types.NodeID) bool {
	if each.IsEmpty() || each.OriginNode == node {
		return false
	}
	each.Reason, each.OriginNode, each.PeersChanged, each.PeerPatches = "", 0, nil, nil
	return reflect.ValueOf(each).IsZero()
}

// joined is one change for a row of them; none for none.
func joined(row []change.Change) []change.Change {
	if len(row) < 2 {
		return row
	}
	one := change.Change{Reason: fmt.Sprintf("%d changes of peers", len(row))}
	whole := map[tailcfg.NodeID]bool{}
	for _, each := range row {
		for _, id := range each.PeersChanged {
			if !whole[id.NodeID()] {
				whole[id.NodeID()] = true
				one.PeersChanged = append(one.PeersChanged, id)
			}
		}
	}
	for _, each := range row {
		for _, patch := range each.PeerPatches {
			if !whole[patch.NodeID] {
				one.PeerPatches = append(one.PeerPatches, patch)
			}
		}
	}
	return []change.Change{one}
}
