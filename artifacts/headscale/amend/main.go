// Command amend copies Headscale's source and inserts two statements of ours into the copy.
//
//	amend VERSION SOURCE COPY
//
// The first is in the policy. Headscale 0.29 works out, for each pair of nodes whose peer entry it
// sends, which routes a grant with "via" steers. To do so it resolves the sources and destinations
// of every rule of the policy over all nodes, also when no rule has a via, and the answer is then
// always empty. The insertion returns that empty answer at once.
//
// The second is in the batcher. What is new with other nodes is collected and then told to each node
// one by one, and for each the node's peers are worked out anew. The insertion makes one message of
// those that come together; folder mapper has the function, which goes into the copy too.
//
// docs/decisions/0014 has the measurements. VERSION is that of the copy, for messages. The functions
// that the insertions rely on are locked by their hashes: where upstream changed one, somebody has
// to look again, and nothing is built.
package main

import (
	"crypto/sha256"
	"embed"
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

// function is one that an insertion relies on.
type function struct {
	file, receiver, name, sha256 string
	why                          string
}

// insertion is a statement of ours, and the one of upstream's behind which it goes.
type insertion struct {
	function
	place     string // the condition of an if, or what is assigned
	statement string
	reliesOn  []function
}

var insertions = []insertion{
	{
		function: function{
			file: "hscontrol/policy/v2/policy.go", receiver: "PolicyManager", name: "ViaRoutesForPeer",
			sha256: "0bb48cd110781c252c08ba79eddaed777d680be41b80dc4825cbc08d77cd6297",
			why:    amended,
		},
		place: "pm.pol == nil", // the policy's lock is held there
		statement: `

	// Inserted by mesh: without a via there is nothing to steer.
	if !slices.ContainsFunc(pm.pol.Grants, func(grant Grant) bool { return len(grant.Via) > 0 }) {
		return result
	}`,
		reliesOn: []function{{
			file: "hscontrol/policy/v2/types.go", name: "aclToGrants",
			sha256: "e929b90724c19638ec337eeb5a6aa8b59238ef843e826dd24059dea85726ef8f",
			why:    "acls never have a via, only grants",
		}},
	},
	{
		function: function{
			file: "hscontrol/mapper/batcher.go", receiver: "Batcher", name: "processBatchedChanges",
			sha256: "2269c37d48583b8b10b3d4b3e6e3fd41cd655a41866761cf64e64d18e8f1ab6f",
			why:    amended,
		},
		place: "change.DedupePolicyChanges(pending)",
		statement: `

	// Inserted by mesh: what is new with several peers is one message.
	pending = together(pending, nodeID)`,
		reliesOn: []function{
			{
				file: "hscontrol/mapper/batcher.go", name: "generateMapResponse",
				sha256: "ed7652dcfb3c9b02710033a4756bc69ae6d0d56b81d7561953d89543d57528a8",
				why:    "what concerns the node itself is told by itself",
			},
			{
				file: "hscontrol/mapper/mapper.go", receiver: "mapper", name: "buildFromChange",
				sha256: "8f13140d76a46a4bfc6954f6d30413e81dc8f727538f819b6e4da801e92aef0a",
				why:    "peers' entries are made from what is known when they are sent",
			},
		},
	},
}

const amended = "it is the one to amend"

// added has what goes into the copy as it is: folders of added are those of hscontrol.
//
//go:embed mapper
var added embed.FS

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
	changed, errs := map[string]string{}, []error{}
	for _, each := range insertions {
		text, err := each.made(folder)
		changed[each.file] = text
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for file, text := range changed {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.CopyFS(filepath.Join(folder, "hscontrol"), added) // it never replaces a file
}

// made is the file of the function with the statement in it.
func (i insertion) made(folder string) (string, error) {
	source, body, err := i.find(folder)
	errs := []error{err}
	for _, each := range i.reliesOn {
		_, _, err := each.find(folder)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	end, err := i.endOfPlace(body)
	if err != nil {
		return "", err
	}
	changed := source.text[:source.offset(end)] + i.statement + source.text[source.offset(end):]
	formatted, err := format.Source([]byte(changed))
	if err != nil {
		return "", fmt.Errorf("%s: after the insertion: %w", i.file, err)
	}
	return string(formatted), nil
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

// endOfPlace is where the statement ends behind which ours goes.
func (i insertion) endOfPlace(body *ast.BlockStmt) (token.Pos, error) {
	var ends []token.Pos
	ast.Inspect(body, func(each ast.Node) bool {
		var shown ast.Expr
		switch each := each.(type) {
		case *ast.IfStmt:
			shown = each.Cond
		case *ast.AssignStmt:
			shown = each.Rhs[0]
		}
		if shown != nil && types.ExprString(shown) == i.place {
			ends = append(ends, each.End())
		}
		return true
	})
	if len(ends) != 1 {
		return token.NoPos, fmt.Errorf("%s: %s has %d places with %s", i.file, i, len(ends), i.place)
	}
	return ends[0], nil
}
