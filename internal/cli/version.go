package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// linkedVersion is set by the linker in a release build; otherwise the version of the module
// stands in for it.
var linkedVersion = ""

// programVersion is what this program calls itself: "v1.2.0", or "devel".
func programVersion() string {
	if linkedVersion != "" {
		return linkedVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// build describes this program.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func programBuild() build {
	b := build{Version: programVersion(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	return b
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: `  pedigree version -o json`,
		Args:    args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			b := programBuild()
			return a.print(answer{value: b, names: []string{b.Version}, human: func(w io.Writer) {
				fmt.Fprintln(w, words([]string{"pedigree", b.Version, cut(b.Commit, 13), b.Go, b.Platform}))
			}})
		},
	}
}
