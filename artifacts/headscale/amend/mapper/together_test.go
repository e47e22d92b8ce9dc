package mapper

import (
	"reflect"
	"testing"
	"time"

	"github.com/juanfont/headscale/hscontrol/types"
	"github.com/juanfont/headscale/hscontrol/types/change"
	"tailscale.com/tailcfg"
)

const told = types.NodeID(1) // the node that is told

// content is what changes say, without their reasons.
func content(changes []change.Change) []change.Change {
	var result []change.Change
	for _, each := range changes {
		each.Reason = ""
		result = append(result, each)
	}
	return result
}

func same(t *testing.T, got, want []change.Change) {
	t.Helper()
	if !reflect.DeepEqual(content(got), content(want)) {
		t.Errorf("got %+v, want %+v", content(got), content(want))
	}
}

func TestChangesOfPeersInARowBecomeOne(t *testing.T) {
	moved := &tailcfg.PeerChange{NodeID: 4, DERPRegion: 901}
	got := together([]change.Change{
		change.NodeAdded(2), change.NodeOnline(4), change.NodeAdded(3), change.NodeAdded(2),
		change.EndpointOrDERPUpdate(4, moved),
	}, told)
	online := change.NodeOnline(4).PeerPatches[0]
	same(t, got, []change.Change{{
		PeersChanged: []types.NodeID{2, 3}, PeerPatches: []*tailcfg.PeerChange{online, moved},
	}})
}

func TestPatchesOfOnePeerKeepTheirOrder(t *testing.T) {
	got := together([]change.Change{
		change.NodeOnline(2), change.NodeOffline(2), change.NodeOnline(2),
	}, told)
	var said []bool
	for _, patch := range got[0].PeerPatches {
		said = append(said, *patch.Online)
	}
	if len(got) != 1 || !reflect.DeepEqual(said, []bool{true, false, true}) {
		t.Errorf("%d changes, online %v", len(got), said)
	}
}

func TestAPatchIsLeftOutBesideTheEntryOfItsPeer(t *testing.T) {
	// The entry is made later than all of these and says that the node is online.
	same(t, together([]change.Change{
		change.NodeOffline(2), change.NodeAdded(2), change.NodeOnline(2),
	}, told), []change.Change{{PeersChanged: []types.NodeID{2}}})
}

func TestWhatIsNotOfPeersStaysInItsPlace(t *testing.T) {
	for name, other := range map[string]change.Change{
		"a removal":            change.NodeRemoved(3),
		"of the node itself":   change.NodeAdded(told),
		"its own expiry":       change.KeyExpiryFor(told, time.Unix(1, 0)),
		"its own endpoints":    change.EndpointOrDERPUpdate(told, &tailcfg.PeerChange{NodeID: 1}),
		"policy":               change.PolicyChange(),
		"policy of a node":     change.PolicyAndPeers(3),
		"visibility":           change.VisibilityChange("", []types.NodeID{3}, nil),
		"DNS":                  change.DNSConfig(),
		"the map of relays":    change.DERPMap(),
		"everything":           change.FullUpdate(),
		"everything, for it":   change.FullSelf(told),
		"a ping":               change.PingNode(told, &tailcfg.PingRequest{}),
		"a target of its own":  {TargetNode: told, PeersChanged: []types.NodeID{3}},
		"all peers beside one": {SendAllPeers: true, PeersChanged: []types.NodeID{3}},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, together([]change.Change{
				change.NodeAdded(2), change.NodeAdded(3), other, change.NodeOnline(2), change.NodeOnline(3),
			}, told), []change.Change{
				{PeersChanged: []types.NodeID{2, 3}},
				other,
				{PeerPatches: []*tailcfg.PeerChange{
					change.NodeOnline(2).PeerPatches[0], change.NodeOnline(3).PeerPatches[0],
				}},
			})
		})
	}
}

func TestOneChangeAloneStaysAsItIs(t *testing.T) {
	for _, changes := range [][]change.Change{nil, {change.NodeAdded(2)}, {change.PolicyChange()}} {
		if got := together(changes, told); !reflect.DeepEqual(got, changes) {
			t.Errorf("got %+v, want %+v", got, changes)
		}
	}
}

func TestEveryPartOfAChangeIsKnownOrKeepsItAsItIs(t *testing.T) {
	peers := map[string]bool{"Reason": true, "OriginNode": true, "PeersChanged": true, "PeerPatches": true}
	kind := reflect.TypeFor[change.Change]()
	for i := range kind.NumField() {
		each := change.NodeAdded(2)
		field := reflect.ValueOf(&each).Elem().Field(i)
		switch field.Kind() {
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Uint64:
			field.SetUint(7)
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		case reflect.Pointer:
			field.Set(reflect.New(field.Type().Elem()))
		case reflect.String:
			field.SetString("why")
		default:
			t.Fatalf("%s: a %s", kind.Field(i).Name, field.Kind())
		}
		if got := ofPeers(each, told); got != peers[kind.Field(i).Name] {
			t.Errorf("a change with %s is of peers: %v", kind.Field(i).Name, got)
		}
	}
}
