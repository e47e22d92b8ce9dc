// Command headscale is Headscale's own command, told which release it is.
//
// Headscale learns its version from the main module's build information, which names the release
// only after "go install module@version". As a dependency of this module it would call itself
// "dev", and then its database layer skips the check that refuses downgrades and skipped minor
// releases. The version set here is the one this module locks, so the two cannot differ.
package main

import (
	"os"
	"path"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jagottsicher/termcolor"
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
	log.Logger = log.Output(zerolog.ConsoleWriter{
		Out:        os.Stderr,
		TimeFormat: time.RFC3339,
		NoColor:    !colors(),
	})
	zerolog.TimeFieldFormat = zerolog.TimeFormatUnix
	cli.Execute()
}

// lockedVersion is the Headscale release this binary was linked from. Where build.py amended the
// source, the folder that took the release's place is named for our revision: v0.29.2+mesh.2.
func lockedVersion() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		panic("headscale: built without module information")
	}
	for _, module := range build.Deps {
		if module.Path != headscaleModule {
			continue
		}
		if module.Replace != nil {
			return module.Version + "+" + path.Base(module.Replace.Path)
		}
		return module.Version
	}
	panic("headscale: " + headscaleModule + " is not among the linked modules")
}

// colors reports whether log lines on standard error may be coloured (no-color.org).
func colors() bool {
	_, refused := os.LookupEnv("NO_COLOR")
	return !refused && termcolor.SupportLevel(os.Stderr) != termcolor.LevelNone
}
