// Pedigree is a model registry in one program: server, command line and embedded
// registry. See package internal/cli for what it can do.
package main

import (
	"os"

	"github.com/pedigree-ml/pedigree/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
