package capture

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"testing/fstest"
)

const goosUnderTest = runtime.GOOS

func files(nameContent ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(nameContent); i += 2 {
		m[nameContent[i]] = &fstest.MapFile{Data: []byte(nameContent[i+1])}
	}
	return m
}

func TestMemoryAndCores(t *testing.T) {
	const meminfo = "MemTotal:       16384 kB\nMemFree: 1 kB\n"
	const v1group = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"
	tests := []struct {
		name   string
		fs     fstest.MapFS
		memory int64
		cores  int
	}{
		{"nothing", files(), 0, 0},
		{"no limit", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "max\n", "sys/fs/cgroup/cpu.max", "max 100000\n"), 16 << 20, 0},
		{"version 2", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "1048576\n", "sys/fs/cgroup/cpu.max", "150000 100000\n"), 1 << 20, 2},
		{"version 2, above", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max", "max\n", "sys/fs/cgroup/a/memory.max", "2097152\n",
			"sys/fs/cgroup/a/b/cpu.max", "400000 100000", "sys/fs/cgroup/a/cpu.max", "50000 100000"), 2 << 20, 1},
		{"version 2, more than there is", files("proc/meminfo", meminfo, "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "1099511627776\n"), 16 << 20, 0},
		{"version 1", files("proc/meminfo", meminfo, "proc/self/cgroup", v1group, "sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"), 1 << 20, 1},
		{"version 1, no limit", files("proc/meminfo", meminfo, "proc/self/cgroup", v1group, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"), 16 << 20, 0},
		{"nonsense", files("proc/meminfo", "MemTotal:\nMemTotal: x kB\n", "proc/self/cgroup", "::\n0\n0::../..\n", "sys/fs/cgroup/cpu.max", "0 0"), 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := memory(tt.fs); got != tt.memory {
				t.Errorf("memory %d, want %d", got, tt.memory)
			}
			if got := cores(tt.fs); got != tt.cores {
				t.Errorf("cores %d, want %d", got, tt.cores)
			}
		})
	}
}

func TestCPUModel(t *testing.T) {
	tests := []struct{ info, want string }{
		{"processor\t: 0\nmodel name\t: Fast CPU @ 3.0 GHz\nprocessor\t: 1\nmodel name\t: Other\n", "Fast CPU @ 3.0 GHz"},
		{"processor\t: 0\nHardware\t: BCM2835\nModel\t: Small Board\n", "BCM2835"},
		{"processor\t: 0\nCPU part\t: 0xd0c\n", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := cpuModel(files("proc/cpuinfo", tt.info)); got != tt.want {
			t.Errorf("cpuModel(%q) = %q, want %q", tt.info, got, tt.want)
		}
	}
}

func TestImage(t *testing.T) {
	tests := []struct {
		name string
		env  environ
		fs   fstest.MapFS
		want string
		note bool
	}{
		{"no container", environ{}, files("proc/self/cgroup", "0::/user.slice\n"), "", false},
		{"told", environ{"PEDIGREE_IMAGE": "images.test/train:1@sha256:" + hex64, "GITLAB_CI": "true", "CI_JOB_IMAGE": "other"}, files(), "images.test/train:1@sha256:" + hex64, false},
		{"no registry", environ{"PEDIGREE_IMAGE": "python:3.12@sha256:" + hex64}, files(), "python:3.12@sha256:" + hex64, false},
		{"credentials", environ{"PEDIGREE_IMAGE": "docker://ann:s3cret@images.test:5000/train:1"}, files(), "images.test:5000/train:1", false},
		{"gitlab", environ{"GITLAB_CI": "true", "CI_JOB_IMAGE": "images.test/train:1"}, files(".dockerenv", ""), "images.test/train:1", false},
		{"not gitlab", environ{"CI_JOB_IMAGE": "images.test/train:1"}, files(), "", false},
		{"studio", environ{"SAGEMAKER_INTERNAL_IMAGE_URI": "images.test/studio"}, files(), "images.test/studio", false},
		{"kaggle", environ{"KAGGLE_KERNEL_RUN_TYPE": "Batch", "KAGGLE_DOCKER_IMAGE": "images.test/kaggle@sha256:" + hex64}, files(), "images.test/kaggle@sha256:" + hex64, false},
		{"argo", environ{"ARGO_TEMPLATE": `{"name":"fit","container":{"image":"images.test/train:2"}}`}, files(), "images.test/train:2", false},
		{"argo script", environ{"ARGO_TEMPLATE": `{"script":{"image":"images.test/train:3"}}`}, files(), "images.test/train:3", false},
		{"kubeflow", environ{"ARGO_TEMPLATE": `{"container":{"image":"gcr.test/should-be-overridden-during-runtime"}}`, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, files(), "", true},
		{"podman", environ{}, files("run/.containerenv", "engine=\"podman\"\nimage=\"images.test/train:4\"\n"), "images.test/train:4", false},
		{"podman, unprivileged", environ{}, files("run/.containerenv", ""), "", true},
		{"docker", environ{}, files(".dockerenv", ""), "", true},
		{"kubernetes", environ{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, files(), "", true},
		{"cgroup", environ{}, files("proc/self/cgroup", "0::/kubepods.slice/pod1\n"), "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &capturer{Options: Options{Env: tt.env.get}, machine: tt.fs}
			if got := c.image(detect(tt.env.get)); got != tt.want {
				t.Errorf("image %q, want %q", got, tt.want)
			}
			if got := len(c.result.Notes) > 0; got != tt.note {
				t.Errorf("notes %q, want one: %v", c.result.Notes, tt.note)
			}
		})
	}
}

func TestCompute(t *testing.T) {
	c := &capturer{Options: Options{Env: environ{"SM_CURRENT_INSTANCE_TYPE": "ml.p4d.24xlarge", "AWS_EXECUTION_ENV": "x"}.get}, goos: "linux", machine: files(
		"proc/cpuinfo", "model name : Fast\n", "proc/meminfo", "MemTotal: 1024 kB\n", "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/cpu.max", "100000 100000")}
	got := c.compute(context.Background())
	if got.OS != runtime.GOOS || got.Arch != runtime.GOARCH || got.CPU != "Fast" || got.Memory != 1<<20 || got.Cores != 1 || got.InstanceType != "ml.p4d.24xlarge" || got.GPUs != nil {
		t.Errorf("compute %+v", got)
	}
}

// program puts a shell script by that name on a PATH of its own.
func script(t *testing.T, name, body string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestGPUs(t *testing.T) {
	tests := []struct {
		name, body string
		want       []string
	}{
		{"two", `[ "$1" = --query-gpu=name,memory.total ] && printf 'NVIDIA A100, 40960 MiB\nNVIDIA A100, 40960 MiB\n'`, []string{"NVIDIA A100, 40960 MiB", "NVIDIA A100, 40960 MiB"}},
		{"none", `echo 'No devices were found'`, nil},
		{"failing", `echo 'NVIDIA-SMI has failed, because it could'; exit 9`, nil},
		{"endless", `while :; do echo 'NVIDIA A100, 40960 MiB, NVIDIA A100, 40960 MiB, NVIDIA A100, 40960 MiB'; done`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := environ{"PATH": script(t, "nvidia-smi", tt.body)}
			c := &capturer{Options: Options{Env: env.get}, machine: files(), goos: goosUnderTest}
			if got := c.gpus(context.Background()); tt.name != "endless" && !reflect.DeepEqual(got, tt.want) || tt.name == "endless" && got != nil {
				t.Errorf("GPUs %q, want %q", got, tt.want)
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		c := &capturer{Options: Options{Env: environ{}.get}, machine: files(), goos: goosUnderTest}
		if got := c.gpus(context.Background()); got != nil || len(c.result.Notes) != 0 {
			t.Errorf("GPUs %q and notes %q without nvidia-smi", got, c.result.Notes)
		}
	})
}
