// Command generate writes the files of package tables into the current folder.
package main

import (
	"fmt"
	"os"

	"millrace/deploy/tables"
)

func main() {
	files, err := tables.Files()
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(name, text, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
