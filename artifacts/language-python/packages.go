package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// GetRequiredPackages lists the provider packages installed for a program, so that the engine can
// find their plugins before the program runs. A missing virtual environment is reported here, with
// the commands that create it.
func (h *host) GetRequiredPackages(
	ctx context.Context, req *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	tools, _, err := resolve(req.GetInfo())
	if err != nil {
		return nil, err
	}
	if err := tools.ValidateVenv(ctx); err != nil {
		return nil, err
	}
	sites, err := sitePackages(ctx, tools)
	if err != nil {
		return nil, err
	}
	res := &pulumirpc.GetRequiredPackagesResponse{}
	for _, site := range sites {
		found, err := packagesIn(site)
		if err != nil {
			return nil, err
		}
		res.Packages = append(res.Packages, found...)
	}
	return res, nil
}

// sitePackages are the directories where the interpreter keeps installed packages. In a virtual
// environment they are found without starting Python, which saves each command a second.
func sitePackages(ctx context.Context, tools toolchain.Toolchain) ([]string, error) {
	if venv, err := tools.VirtualEnvPath(ctx); err == nil && venv != "" {
		sites, err := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages"))
		if err != nil || len(sites) > 0 {
			return sites, err
		}
	}
	python, err := tools.Command(ctx, "-c",
		"import json, site; print(json.dumps(site.getsitepackages() + [site.getusersitepackages()]))")
	if err != nil {
		return nil, err
	}
	output, err := python.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for its site-packages: %w", python.Path, err)
	}
	var sites []string
	return sites, json.Unmarshal(output, &sites)
}

// packagesIn lists the packages of one site-packages directory that carry a pulumi-plugin.json.
func packagesIn(site string) ([]*pulumirpc.PackageDependency, error) {
	descriptions, err := filepath.Glob(filepath.Join(site, "*", "pulumi-plugin.json"))
	if err != nil {
		return nil, err
	}
	var found []*pulumirpc.PackageDependency
	for _, path := range descriptions {
		description, err := plugin.LoadPulumiPluginJSON(path)
		if errors.Is(err, fs.ErrNotExist) { // uninstalled meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if description.Resource {
			found = append(found, dependency(filepath.Dir(path), description))
		}
	}
	return found, nil
}

// dependency fills what a description may leave out from the package that contains it.
func dependency(dir string, description *plugin.PulumiPluginJSON) *pulumirpc.PackageDependency {
	name, version := description.Name, description.Version
	if name == "" {
		name = strings.ReplaceAll(strings.TrimPrefix(filepath.Base(dir), "pulumi_"), "_", "-")
	}
	if version == "" {
		version = installedVersion(dir)
	}
	return &pulumirpc.PackageDependency{
		Kind:             "resource",
		Name:             name,
		Version:          withV(version),
		Server:           description.Server,
		Parameterization: parameterization(description.Parameterization),
		Extension:        parameterization(description.ExtensionParameterization),
	}
}

// installedVersion reads a package's version off the name of its metadata directory, such as
// tencentcloud_iac_pulumi-0.2.3.dist-info; it is empty where there is no such directory.
func installedVersion(dir string) string {
	metadata, err := filepath.Glob(dir + "-*.dist-info")
	if err != nil || len(metadata) != 1 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(metadata[0], dir+"-"), ".dist-info")
}

func withV(version string) string {
	if version == "" || strings.HasPrefix(version, "v") {
		return version
	}
	return "v" + version
}

func parameterization(p *plugin.PulumiParameterizationJSON) *pulumirpc.PackageParameterization {
	if p == nil {
		return nil
	}
	return &pulumirpc.PackageParameterization{Name: p.Name, Version: p.Version, Value: p.Value}
}
