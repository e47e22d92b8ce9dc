// Command amend copies Headscale's source and inserts one early return of ours into the copy.
//
//	amend VERSION SOURCE COPY
//
// Headscale 0.29 works out, for each pair of nodes whose peer entry it sends, which routes a grant
// with "via" steers. To do so it resolves the sources and destinations of every rule of the policy
// over all nodes, also when no rule has a via, and the answer is then always empty. The insertion
// returns that empty answer at once. docs/decisions/0014 has the measurements.
//
// VERSION is that of the copy, for messages. The functions that the insertion relies on are locked
// by their hashes: where upstream changed one, somebody has to look again, and nothing is built.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
)

// statement goes behind the check for a missing policy, while the policy's lock is held.
const statement = `

	// Inserted by mesh: without a via there is nothing to steer.
	if !slices.ContainsFunc(pm.pol.Grants, func(grant Grant) bool { return len(grant.Via) > 0 }) {
		return result
	}`

// place is the guard behind which the statement goes.
const place = "pm.pol == nil"

// function is one that the insertion relies on.
type function struct {
	file, receiver, name, sha256 string
	why                          string
}

var (
	amended = function{
		file: "hscontrol/policy/v2/policy.go", receiver: "PolicyManager", name: "ViaRoutesForPeer",
		sha256: "0bb48cd110781c252c08ba79eddaed777d680be41b80dc4825cbc08d77cd6297",
		why:    "it is the one to amend",
	}
	reliedOn = function{
		file: "hscontrol/policy/v2/types.go", name: "aclToGrants",
		sha256: "e929b90724c19638ec337eeb5a6aa8b59238ef843e826dd24059dea85726ef8f",
		why:    "acls never have a via, only grants",
	}
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "amend VERSION SOURCE COPY")
		os.Exit(2)
	}
	version, from, to := os.Args[1], os.Args[2], os.Args[3]
	err := os.CopyFS(to, os.DirFS(from))
	if err == nil {
		err = amend(to)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "headscale %s cannot be made: %v\n", version, err)
		os.Exit(1)
	}
}

// amend changes the source in a folder, or says everything that is not as expected.
func amend(folder string) error {
	_, _, reliedOnErr := reliedOn.find(folder)
	source, body, amendedErr := amended.find(folder)
	if err := errors.Join(amendedErr, reliedOnErr); err != nil {
		return err
	}
	end, err := endOfGuard(body)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", amended.file, amended, err)
	}
	changed := source.text[:source.offset(end)] + statement + source.text[source.offset(end):]
	formatted, err := format.Source([]byte(changed))
	if err != nil {
		return fmt.Errorf("%s: after the insertion: %w", amended.file, err)
	}
	return os.WriteFile(filepath.Join(folder, amended.file), formatted, 0o644)
}

// source is one parsed file.
type source struct {
	files *token.FileSet
	text  string
}

func (s source) offset(at token.Pos) int { return s.files.Position(at).Offset }

// find gives the body of the function when it is the one that was locked.
func (f function) find(folder string) (source, *ast.BlockStmt, error) {
	text, err := os.ReadFile(filepath.Join(folder, f.file))
	if err != nil {
		return source{}, nil, fmt.Errorf("%s: %w", f, err)
	}
	parsed := source{files: token.NewFileSet(), text: string(text)}
	file, err := parser.ParseFile(parsed.files, f.file, text, parser.SkipObjectResolution)
	if err != nil {
		return source{}, nil, err
	}
	for _, declared := range file.Decls {
		found, ok := declared.(*ast.FuncDecl)
		if !ok || found.Name.Name != f.name || receiver(found) != f.receiver {
			continue
		}
		code := parsed.text[parsed.offset(found.Pos()):parsed.offset(found.End())]
		if sum := sha256.Sum256([]byte(code)); hex.EncodeToString(sum[:]) != f.sha256 {
			return source{}, nil, fmt.Errorf(
				"%s: %s has changed (%s): sha256 %x, locked is %s", f.file, f, f.why, sum, f.sha256)
		}
		return parsed, found.Body, nil
	}
	return source{}, nil, fmt.Errorf("%s: %s is not there (%s)", f.file, f, f.why)
}

func (f function) String() string {
	if f.receiver == "" {
		return "func " + f.name
	}
	return fmt.Sprintf("func (*%s).%s", f.receiver, f.name)
}

// receiver is the name of the type whose method a function is; empty for no method.
func receiver(found *ast.FuncDecl) string {
	if found.Recv == nil {
		return ""
	}
	return strings.TrimPrefix(types.ExprString(found.Recv.List[0].Type), "*")
}

// endOfGuard is where the guard of the function ends.
func endOfGuard(body *ast.BlockStmt) (token.Pos, error) {
	for _, each := range body.List {
		guard, ok := each.(*ast.IfStmt)
		if ok && types.ExprString(guard.Cond) == place {
			return guard.End(), nil
		}
	}
	return token.NoPos, fmt.Errorf("has no guard for %s", place)
}
