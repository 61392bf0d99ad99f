//go:build linux || darwin || freebsd

package cli

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pedigree-ml/pedigree"
)

// parseSignal reads the name of a signal: HUP, SIGUSR1.
func parseSignal(name string) (os.Signal, error) {
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if s := unix.SignalNum(upper); s != 0 {
		return s, nil
	}
	return nil, pedigree.Errorf(pedigree.CodeInvalid, "%q is not a signal", cut(name, 40)).WithFix("--signal HUP, or USR1, TERM …")
}

// passedOn are the signals that exec hands to its command.
var passedOn = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGALRM,
}

// byTerminal says that a terminal sends a signal to all programs in front of it, so that
// nobody has to hand it on.
func byTerminal(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGWINCH
}

// isGone says that the error of a signal means that there is no such process.
func isGone(err error) bool {
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH)
}

// endedBy is the exit code of a program that a signal ended: 128 and its number, as shells
// have it. ok is false where none did.
func endedBy(state *os.ProcessState) (code int, ok bool) {
	if w, is := state.Sys().(syscall.WaitStatus); is && w.Signaled() {
		return 128 + int(w.Signal()), true
	}
	return 0, false
}
