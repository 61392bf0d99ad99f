//go:build !(linux || darwin || freebsd)

package cli

import (
	"errors"
	"os"

	"github.com/pedigree-ml/pedigree"
)

// parseSignal refuses: this system has no signals between programs.
func parseSignal(string) (os.Signal, error) {
	return nil, pedigree.Errorf(pedigree.CodeUnsupported, "this system has no signals").WithFix("--exec CMD")
}

// passedOn are the signals that exec hands to its command.
var passedOn = []os.Signal{os.Interrupt}

// byTerminal says that a terminal sends a signal to all programs in front of it.
func byTerminal(os.Signal) bool { return true }

func isGone(err error) bool { return errors.Is(err, os.ErrProcessDone) }

func endedBy(*os.ProcessState) (code int, ok bool) { return 0, false }
