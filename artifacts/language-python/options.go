package main

import (
	"fmt"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// resolve picks the tools that serve a program, from runtime.options of its Pulumi.yaml (or
// PulumiPolicy.yaml). The error names the option and its value.
func resolve(
	info *pulumirpc.ProgramInfo,
) (toolchain.Toolchain, toolchain.PythonOptions, error) {
	options, err := parseOptions(info)
	if err != nil {
		return nil, options, err
	}
	tools, err := toolchain.ResolveToolchain(options)
	return tools, options, err
}

// parseOptions reads virtualenv, toolchain and typechecker; options of later releases are ignored.
func parseOptions(info *pulumirpc.ProgramInfo) (toolchain.PythonOptions, error) {
	options := toolchain.PythonOptions{
		Root:       info.GetRootDirectory(),
		ProgramDir: info.GetProgramDirectory(),
	}
	for key, value := range info.GetOptions().AsMap() {
		if err := setOption(&options, key, value); err != nil {
			return options, err
		}
	}
	return options, nil
}

func setOption(options *toolchain.PythonOptions, key string, value any) error {
	text, isText := value.(string)
	valid := isText
	switch key {
	case "virtualenv":
		options.Virtualenv = text
	case "toolchain":
		valid = isText && setToolchain(options, text)
	case "typechecker":
		valid = isText && setTypechecker(options, text)
	default:
		return nil
	}
	if !valid {
		return fmt.Errorf("runtime option %s: %v is not supported", key, value)
	}
	return nil
}

func setToolchain(options *toolchain.PythonOptions, name string) bool {
	switch name {
	case "", "auto":
		options.Toolchain = toolchain.Auto
	case "pip":
		options.Toolchain = toolchain.Pip
	case "poetry":
		options.Toolchain = toolchain.Poetry
	case "uv":
		options.Toolchain = toolchain.Uv
	default:
		return false
	}
	return true
}

func setTypechecker(options *toolchain.PythonOptions, name string) bool {
	switch name {
	case "", "none":
		options.Typechecker = toolchain.TypeCheckerNone
	case "mypy":
		options.Typechecker = toolchain.TypeCheckerMypy
	case "pyright":
		options.Typechecker = toolchain.TypeCheckerPyright
	default:
		return false
	}
	return true
}
