package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// messageShown is the exit code of a program whose error the user has already been shown.
const messageShown = 32

// Run runs a program to its end. Its output goes to the host's own streams, which the engine reads.
func (h *host) Run(
	ctx context.Context, req *pulumirpc.RunRequest,
) (*pulumirpc.RunResponse, error) {
	ctx, release := h.whileAlive(ctx)
	defer release()
	tools, options, err := resolve(req.GetInfo())
	if err != nil {
		return nil, err
	}
	if err := checkTypes(ctx, tools, options); err != nil {
		return &pulumirpc.RunResponse{Error: err.Error()}, nil
	}
	program, err := tools.Command(ctx, h.programArgs(req)...)
	if err != nil {
		return nil, err
	}
	configuration, err := configEnv(req)
	if err != nil {
		return nil, err
	}
	program.Env = append(environment(program), configuration...)
	program.Stdout, program.Stderr = os.Stdout, os.Stderr
	return outcome(program.Run()), nil
}

// whileAlive ends the context also when the engine cancels the host or is gone.
func (h *host) whileAlive(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(h.alive, cancel)
	return ctx, func() { detach(); cancel() }
}

// checkTypes runs the type checker of runtime.options, if any; its findings are the error.
func checkTypes(
	ctx context.Context, tools toolchain.Toolchain, options toolchain.PythonOptions,
) error {
	if options.Typechecker == toolchain.TypeCheckerNone {
		return nil
	}
	name := strings.ToLower(toolchain.TypeCheckerName(options.Typechecker))
	checker, err := tools.ModuleCommand(ctx, name, ".")
	if err != nil {
		return err
	}
	checker.Dir = options.ProgramDir
	if findings, err := checker.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, findings)
	}
	return nil
}

// programArgs is the command line of pulumi-language-python-exec; empty options are left out.
func (h *host) programArgs(req *pulumirpc.RunRequest) []string {
	args := []string{"-u", h.executor}
	for _, option := range [][2]string{
		{"--monitor", req.GetMonitorAddress()},
		{"--engine", h.engine},
		{"--project", req.GetProject()},
		{"--root_directory", req.GetInfo().GetRootDirectory()},
		{"--stack", req.GetStack()},
		{"--pwd", req.GetPwd()},
		{"--dry_run", strconv.FormatBool(req.GetDryRun())},
		{"--parallel", strconv.Itoa(int(req.GetParallel()))},
		{"--organization", req.GetOrganization()},
	} {
		if option[1] != "" {
			args = append(args, option[:]...)
		}
	}
	entry := req.GetInfo().GetEntryPoint()
	if entry == "" {
		entry = "."
	}
	return append(append(args, entry), req.GetArgs()...)
}

// configEnv hands the stack's configuration to the program. A stack without any has nil maps, which
// would read as null where the SDK expects an object and a list.
func configEnv(req *pulumirpc.RunRequest) ([]string, error) {
	values, secrets := req.GetConfig(), req.GetConfigSecretKeys()
	if values == nil {
		values = map[string]string{}
	}
	if secrets == nil {
		secrets = []string{}
	}
	valuesJSON, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	secretsJSON, err := json.Marshal(secrets)
	if err != nil {
		return nil, err
	}
	return []string{
		"PULUMI_CONFIG=" + string(valuesJSON),
		"PULUMI_CONFIG_SECRET_KEYS=" + string(secretsJSON),
	}, nil
}

// environment is what a command would inherit; an empty list means the host's own environment.
func environment(command *exec.Cmd) []string {
	if command.Env == nil {
		return os.Environ()
	}
	return command.Env
}

// outcome turns a program's end into the engine's words. Bail means that the program itself has said
// what went wrong.
func outcome(err error) *pulumirpc.RunResponse {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return &pulumirpc.RunResponse{}
	case !errors.As(err, &exit):
		return &pulumirpc.RunResponse{Error: "cannot run the Python program: " + err.Error()}
	case exit.ExitCode() == messageShown:
		return &pulumirpc.RunResponse{Bail: true}
	case exit.ExitCode() >= 0:
		return &pulumirpc.RunResponse{
			Error: fmt.Sprintf("Program exited with non-zero exit code: %d", exit.ExitCode()),
		}
	default:
		return &pulumirpc.RunResponse{Error: "the Python program was ended: " + exit.Error()}
	}
}

// RunPlugin runs a policy pack or another plugin in Python until the engine is done with it.
func (h *host) RunPlugin(
	req *pulumirpc.RunPluginRequest, stream pulumirpc.LanguageRuntime_RunPluginServer,
) error {
	ctx, release := h.whileAlive(stream.Context())
	defer release()
	command, err := pluginCommand(ctx, req)
	if err != nil {
		return err
	}
	closer, stdout, stderr, err := rpcutil.MakeRunPluginStreams(stream, false)
	if err != nil {
		return err
	}
	command.Stdout, command.Stderr = stdout, stderr
	err = command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = stream.Send(&pulumirpc.RunPluginResponse{
			Output: &pulumirpc.RunPluginResponse_Exitcode{Exitcode: int32(exit.ExitCode())},
		})
	}
	return errors.Join(err, closer.Close())
}

// pluginCommand is the command line of a plugin: policy packs are loaded by the SDK's policy
// module, others are programs themselves.
func pluginCommand(ctx context.Context, req *pulumirpc.RunPluginRequest) (*exec.Cmd, error) {
	tools, _, err := resolve(req.GetInfo())
	if err != nil {
		return nil, err
	}
	if err := tools.ValidateVenv(ctx); err != nil {
		return nil, err
	}
	program := req.GetInfo().GetProgramDirectory()
	args := append([]string{"-u", program}, req.GetArgs()...)
	if req.GetKind() == "analyzer" {
		args = append(append([]string{"-u", "-m", "pulumi.policy"}, req.GetArgs()...), program)
	}
	command, err := tools.Command(ctx, args...)
	if err != nil {
		return nil, err
	}
	venv, err := tools.VirtualEnvPath(ctx)
	if err != nil {
		return nil, err
	}
	command.Dir, command.Env = req.GetPwd(), req.GetEnv()
	if venv != "" {
		command.Env = toolchain.ActivateVirtualEnv(command.Env, venv)
	}
	return command, nil
}
