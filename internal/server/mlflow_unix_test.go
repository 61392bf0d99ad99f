//go:build unix

package server_test

import (
	"os/exec"
	"syscall"
)

// endTogether makes a process the head of a group, so that its workers end with it.
func endTogether(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func stopTogether(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
