// Command prose checks comments, strings and documents for phrases that read as if
// translated, or that hide the subject, and prints each place with a suggestion. The
// list of phrases is words.txt.
package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed words.txt
var words string

func main() {
	found, err := run(os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	if found > 0 {
		fmt.Fprintf(os.Stderr, "%d phrases to avoid: see tools/prose/words.txt\n", found)
		os.Exit(1)
	}
}

// rule is a phrase to avoid.
type rule struct {
	phrase *regexp.Regexp
	advice string
}

// rules reads the list. either finds what one of them finds: nearly all texts are looked at once.
func rules(list string) (all []rule, either *regexp.Regexp, err error) {
	var phrases []string
	for n, line := range strings.Split(list, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		phrase, advice, parted := strings.Cut(line, "\t")
		if !parted {
			return nil, nil, fmt.Errorf("words.txt:%d: no tab between phrase and advice", n+1)
		}
		compiled, err := regexp.Compile(`(?i)\b(?:` + phrase + `)\b`)
		if err != nil {
			return nil, nil, fmt.Errorf("words.txt:%d: %w", n+1, err)
		}
		all, phrases = append(all, rule{compiled, advice}), append(phrases, phrase)
	}
	either, err = regexp.Compile(`(?i)\b(?:` + strings.Join(phrases, "|") + `)\b`)
	return all, either, err
}

// run checks every file that git tracks, and returns how many phrases it found.
func run(to io.Writer) (found int, err error) {
	all, either, err := rules(words)
	if err != nil {
		return 0, err
	}
	listed, err := exec.Command("git", "ls-files", "*.go", "*.md", ":!tools/prose").Output()
	if err != nil {
		return 0, fmt.Errorf("list files: %w", err)
	}
	for _, file := range strings.Fields(string(listed)) {
		texts, err := textsOf(file)
		if err != nil {
			return found, fmt.Errorf("read %s: %w", file, err)
		}
		for _, t := range texts {
			if !either.MatchString(t.text) {
				continue
			}
			for _, r := range all {
				for _, phrase := range r.phrase.FindAllString(t.text, -1) {
					found++
					fmt.Fprintf(to, "%s:%d: %q: %s\n", file, t.line, phrase, r.advice)
				}
			}
		}
	}
	return found, nil
}

// text is a line, or a comment, that people read.
type text struct {
	line int
	text string
}

func textsOf(file string) ([]text, error) {
	if filepath.Ext(file) == ".go" {
		return goTexts(file)
	}
	return lines(file)
}

// lines are those of a document, but for code blocks.
func lines(file string) (all []text, err error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	code := false
	scanner := bufio.NewScanner(opened)
	scanner.Buffer(nil, 1<<20)
	for n := 1; scanner.Scan(); n++ {
		if strings.HasPrefix(scanner.Text(), "```") {
			code = !code
		} else if !code {
			all = append(all, text{n, scanner.Text()})
		}
	}
	return all, scanner.Err()
}

// goTexts are comments and string literals. A phrase may go over the lines of a
// comment.
func goTexts(file string) (all []text, err error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, group := range parsed.Comments {
		all = append(all, text{files.Position(group.Pos()).Line, strings.ReplaceAll(group.Text(), "\n", " ")})
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING && strings.Contains(n.Value, " ") { // without, it is a name
				all = append(all, text{files.Position(n.Pos()).Line, n.Value})
			}
		}
		return true
	})
	return all, nil
}
