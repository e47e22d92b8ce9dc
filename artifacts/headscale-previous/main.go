// Command headscale-previous is the Headscale of the minor release before ours, for comparisons.
package main

import (
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/juanfont/headscale/cmd/headscale/cli"
	"github.com/juanfont/headscale/hscontrol/types"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/log"
)

const headscaleModule = "github.com/juanfont/headscale"

func main() {
	unstamped := types.GetVersionInfo
	types.GetVersionInfo = sync.OnceValue(func() *types.VersionInfo {
		info := *unstamped()
		info.Version = lockedVersion()
		return &info
	})
	console := zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.RFC3339, NoColor: true}
	log.Logger = log.Output(console)
	zerolog.TimeFieldFormat = zerolog.TimeFormatUnix
	cli.Execute()
}

// lockedVersion is the release this binary was linked from, as with ../headscale.
func lockedVersion() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		panic("headscale: built without module information")
	}
	for _, module := range build.Deps {
		if module.Path == headscaleModule {
			return module.Version
		}
	}
	panic("headscale: " + headscaleModule + " is not among the linked modules")
}
