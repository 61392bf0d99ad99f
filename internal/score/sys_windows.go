package score

import "os/exec"

// ownGroup leaves the process as it is: Windows has no groups that end at once.
func ownGroup(*exec.Cmd) {}

func endGroup(*exec.Cmd) {}
