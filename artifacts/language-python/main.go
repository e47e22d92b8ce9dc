// Command pulumi-language-python runs Python programs and policy packs for a Pulumi engine.
//
// It stands in for the host of Pulumi's own release, whose module cannot be had by itself as an
// exact version. All knowledge of virtual environments and package managers comes from Pulumi's SDK
// (python/toolchain); programs start through pulumi-language-python-exec, which must lie in the
// same directory. The engine starts one host for each command, reads the port that the host prints,
// and calls pulumirpc.LanguageRuntime there.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

// engineCheckInterval bounds how long a host outlives an engine that was killed.
const engineCheckInterval = 10 * time.Second

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-language-python:", err)
		os.Exit(1)
	}
}

// serve answers the engine until it cancels the host or is gone.
func serve() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	alive, stop := context.WithCancel(context.Background())
	defer stop()
	host := &host{
		executor: filepath.Join(filepath.Dir(self), "pulumi-language-python-exec"),
		alive:    alive,
		stop:     stop,
	}
	if len(os.Args) > 1 { // flags may come first; the engine's address is always last
		host.engine = os.Args[len(os.Args)-1]
		if err := rpcutil.Healthcheck(alive, host.engine, engineCheckInterval, stop); err != nil {
			return fmt.Errorf("cannot watch the engine at %s: %w", host.engine, err)
		}
	}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: closedAfter(alive),
		Init: func(server *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(server, host)
			return nil
		},
	})
	if err != nil {
		return err
	}
	fmt.Println(handle.Port)
	return <-handle.Done
}

// closedAfter is a channel that closes when the context ends.
func closedAfter(ctx context.Context) chan bool {
	closed := make(chan bool)
	context.AfterFunc(ctx, func() { close(closed) })
	return closed
}
