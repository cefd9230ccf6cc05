package local

import (
	"strings"
	"testing"
)

func TestParseJava(t *testing.T) {
	for _, test := range []struct {
		name, output string
		version      int
		home         string
	}{
		{"17", "Property settings:\n    java.home = /usr/lib/jvm/java 17\n    java.specification.version = 17\n    java.version = 17.0.15\n", 17, "/usr/lib/jvm/java 17"},
		{"8", "    java.home = /opt/jdk8/jre\n    java.specification.version = 1.8\n", 8, "/opt/jdk8/jre"},
		{"24", "    java.home = /opt/jdk\r\n    java.specification.version = 24\r\n", 24, "/opt/jdk"},
	} {
		t.Run(test.name, func(t *testing.T) {
			version, home, err := parseJava(test.output)
			if err != nil || version != test.version || home != test.home {
				t.Errorf("got %d, %q, %v, want %d, %q", version, home, err, test.version, test.home)
			}
		})
	}
	if _, _, err := parseJava("The operation couldn't be completed. Unable to locate a Java Runtime."); err == nil {
		t.Error("took the stub of a system without Java for Java")
	}
}

func TestIsPython(t *testing.T) {
	for output, want := range map[string]bool{
		"Python 3.11.7\n": true, "Python 3.14.0rc1\n": true, "Python 3.9.2\n": false, "Python 2.7.18\n": false, "": false,
	} {
		if got := isPython(output); got != want {
			t.Errorf("%q: got %v", output, got)
		}
	}
}

func TestMissingToolsAreNamedAtOnce(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("JAVA_HOME", "")
	err := CheckPrerequisites(t.Context(), Temporal, Elasticsearch)
	if err == nil {
		t.Fatal("found tools in an empty folder")
	}
	for _, want := range []string{"Java, for elasticsearch: ", "Maven, for elasticsearch: ", "Python, for temporal: ", "apt install maven"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "Node.js") {
		t.Errorf("asks for Node.js, which neither service needs: %v", err)
	}
}
