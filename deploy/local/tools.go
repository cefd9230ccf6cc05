package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// tool is a program that must be on the machine.
type tool string

const (
	java   tool = "Java"
	maven  tool = "Maven"
	python tool = "Python"
	node   tool = "Node.js"
)

// foundTool is where a tool is.
type foundTool struct {
	path string
	home string // Java's.
}

const (
	oldestJava   = 17
	oldestPython = 11 // Of Python 3.
	// OpenSearch 2 needs the security manager, which Java 24 removed.
	newestJavaForOpenSearch = 23
)

// remedy says what to do about a tool that is missing.
var remedy = map[tool]string{
	java:   "install a JDK 17 or 21 (Debian: apt install openjdk-17-jdk-headless; macOS: brew install openjdk@21), or point JAVA_HOME to one",
	maven:  "install Apache Maven and have mvn on the PATH (Debian: apt install maven; macOS: brew install maven)",
	python: "install Python 3.11 or newer with pip (Debian: apt install python3 python3-pip; macOS: brew install python)",
	node:   "install Node.js 18 or newer with npm (Debian: apt install nodejs npm; macOS: brew install node)",
}

// CheckPrerequisites says which programs are missing that the services need, all at once, and what to do.
func CheckPrerequisites(ctx context.Context, services ...string) error {
	definitions, err := define(&Options{Services: services})
	if err != nil {
		return err
	}
	_, err = checkTools(ctx, definitions)
	return err
}

func checkTools(ctx context.Context, definitions []definition) (map[tool]foundTool, error) {
	found := map[tool]foundTool{}
	var missing []error
	for _, kind := range []tool{java, maven, python, node} {
		var users []string
		for _, d := range definitions {
			if slices.Contains(d.tools, kind) {
				users = append(users, d.name)
			}
		}
		if users == nil {
			continue
		}
		tool, err := find(ctx, kind, users)
		if err != nil {
			missing = append(missing, fmt.Errorf("%s, for %s: %w: %s", kind, strings.Join(users, " and "), err, remedy[kind]))
		}
		found[kind] = tool
	}
	if missing != nil {
		return nil, fmt.Errorf("missing on this machine:\n%w", errors.Join(missing...))
	}
	return found, nil
}

func find(ctx context.Context, kind tool, users []string) (foundTool, error) {
	switch kind {
	case java:
		return findJava(ctx, slices.Contains(users, OpenSearch))
	case maven:
		return findOnPath("mvn")
	case python:
		return findPython(ctx)
	default:
		if _, err := findOnPath("npm"); err != nil {
			return foundTool{}, err
		}
		return findOnPath("node")
	}
}

func findOnPath(name string) (foundTool, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return foundTool{}, fmt.Errorf("%s is not on the PATH", name)
	}
	return foundTool{path: path}, nil
}

func findJava(ctx context.Context, forOpenSearch bool) (foundTool, error) {
	program := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		program = filepath.Join(home, "bin", "java")
	}
	found, err := findOnPath(program)
	if err != nil {
		return found, err
	}
	output, err := exec.CommandContext(ctx, found.path, "-XshowSettings:properties", "-version").CombinedOutput()
	if err != nil {
		return found, fmt.Errorf("%s does not run: %w", found.path, err)
	}
	version, home, err := parseJava(string(output))
	if err != nil {
		return found, fmt.Errorf("%s: %w", found.path, err)
	}
	found.home = home
	if version < oldestJava {
		return found, fmt.Errorf("%s is version %d, too old", found.path, version)
	}
	if forOpenSearch && version > newestJavaForOpenSearch {
		return found, fmt.Errorf("%s is version %d, too new for OpenSearch 2", found.path, version)
	}
	if os.Geteuid() == 0 && !enterable(home) {
		return found, fmt.Errorf("%s cannot be entered by the user that servers run as when you are root", home)
	}
	return found, nil
}

// JavaHome returns the home of the Java on this machine that runs programs beside the services, such as Spark.
func JavaHome(ctx context.Context) (string, error) {
	found, err := findJava(ctx, false)
	if err != nil {
		return "", fmt.Errorf("find Java: %w: %s", err, remedy[java])
	}
	return found.home, nil
}

var (
	javaVersion   = regexp.MustCompile(`(?m)^\s*java\.specification\.version = (?:1\.)?(\d+)`)
	javaHome      = regexp.MustCompile(`(?m)^\s*java\.home = (.+?)\s*$`)
	pythonVersion = regexp.MustCompile(`^Python 3\.(\d+)`)
)

// parseJava finds version and home in the output of java -XshowSettings:properties.
func parseJava(output string) (version int, home string, err error) {
	v, h := javaVersion.FindStringSubmatch(output), javaHome.FindStringSubmatch(output)
	if v == nil || h == nil {
		return 0, "", errors.New("does not say its version")
	}
	version, err = strconv.Atoi(v[1])
	if err != nil {
		return 0, "", fmt.Errorf("read Java's version: %w", err)
	}
	return version, h[1], nil
}

func findPython(ctx context.Context) (foundTool, error) {
	old := ""
	for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		output, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
		if err != nil {
			continue // A launcher without an interpreter behind it.
		}
		if isPython(string(output)) {
			return foundTool{path: path}, nil
		}
		old = fmt.Sprintf("%s is %s, too old", path, strings.TrimSpace(string(output)))
	}
	if old != "" {
		return foundTool{}, errors.New(old)
	}
	return foundTool{}, errors.New("python3 is not on the PATH")
}

// isPython reports whether the output of python --version names a version that we can use.
func isPython(output string) bool {
	match := pythonVersion.FindStringSubmatch(output)
	if match == nil {
		return false
	}
	minor, err := strconv.Atoi(match[1])
	return err == nil && minor >= oldestPython
}
