//go:build !unix

package server_test

import "os/exec"

func endTogether(*exec.Cmd) {}

func stopTogether(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
