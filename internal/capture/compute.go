package capture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"path"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// instanceTypes are the variables that name the type of the machine. No metadata
// service is asked: that is a network call, and one that many clusters block.
var instanceTypes = []string{
	"$PEDIGREE_INSTANCE_TYPE", // whoever runs us knows best
	"$SM_CURRENT_INSTANCE_TYPE",
	"$NODE_INSTANCE_TYPE", // by convention, from the node's label
	"$AWS_EXECUTION_ENV",  // not a type, but all there is on Fargate
}

// image is the container image that the job runs in. Inside a container that doesn't
// say which, a note says so.
func (c *capturer) image(jobs []*system) string {
	templates := []string{"$PEDIGREE_IMAGE"}
	for _, s := range jobs {
		templates = append(templates, s.image...)
	}
	if image := imageName(first(c.Env, templates)); image != "" {
		return image
	}
	if image := imageName(argoImage(c.Env("ARGO_TEMPLATE"))); image != "" {
		return image
	}
	mark, _ := fs.ReadFile(c.machine, "run/.containerenv")
	if m := podmanImage.FindSubmatch(mark); m != nil {
		return imageName(string(m[1]))
	}
	if c.contained() {
		c.note("this runs in a container that does not say its image: use --image IMAGE, or set PEDIGREE_IMAGE in the job")
	}
	return ""
}

// podmanImage finds the image in the file that podman puts into its containers.
var podmanImage = regexp.MustCompile(`(?m)^image="([^"]+)"`)

// argoImage returns the image of an Argo template. Kubeflow overrides a placeholder
// when it starts the pod; that is no image.
func argoImage(template string) string {
	type container struct {
		Image string `json:"image"`
	}
	var t struct{ Container, Script *container }
	if json.Unmarshal([]byte(template), &t) != nil {
		return ""
	}
	for _, c := range []*container{t.Container, t.Script} {
		if c != nil && !strings.Contains(c.Image, "should-be-overridden") {
			return c.Image
		}
	}
	return ""
}

// imageName removes credentials from an image reference: "user:token@host/name".
func imageName(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "docker://"), "docker-pullable://")
	if host, rest, ok := strings.Cut(s, "/"); ok {
		s = host[strings.LastIndexByte(host, '@')+1:] + "/" + rest
	}
	// Not text: "name:tag@sha256:…" looks like "user:password@host".
	return safe(redactURLs(printable(s)))
}

// contained says whether this is a container, as far as one can see.
func (c *capturer) contained() bool {
	for _, mark := range []string{".dockerenv", "run/.containerenv"} {
		if _, err := fs.Stat(c.machine, mark); err == nil {
			return true
		}
	}
	if c.Env("KUBERNETES_SERVICE_HOST") != "" {
		return true
	}
	group, _ := fs.ReadFile(c.machine, "proc/self/cgroup")
	return containerGroup.Match(group)
}

var containerGroup = regexp.MustCompile(`docker|kubepods|containerd|libpod|/lxc/`)

// compute describes the machine, as far as the job may use it: the limits of its
// cgroup count.
func (c *capturer) compute(ctx context.Context) *pedigree.Compute {
	m := &pedigree.Compute{
		OS:           runtime.GOOS,
		Arch:         runtime.GOARCH,
		Cores:        runtime.NumCPU(),
		InstanceType: text(first(c.Env, instanceTypes)),
		GPUs:         c.gpus(ctx),
	}
	switch c.goos {
	case "linux":
		m.CPU = text(cpuModel(c.machine))
		m.Memory = memory(c.machine)
		if n := cores(c.machine); n > 0 && n < m.Cores {
			m.Cores = n
		}
	case "darwin":
		m.CPU = text(c.sysctl(ctx, "machdep.cpu.brand_string"))
		m.Memory, _ = strconv.ParseInt(c.sysctl(ctx, "hw.memsize"), 10, 64)
	case "windows":
		m.CPU = text(c.Env("PROCESSOR_IDENTIFIER"))
	}
	return m
}

func (c *capturer) sysctl(ctx context.Context, name string) string {
	out, _ := c.run(ctx, program{name: "sysctl", args: []string{"-n", name}, timeout: gpuTimeout, limit: maxOutput})
	return strings.TrimSpace(string(out))
}

// gpus lists the NVIDIA devices: "NVIDIA A100-SXM4-40GB, 40960 MiB".
func (c *capturer) gpus(ctx context.Context) []string {
	out, err := c.run(ctx, program{
		name: "nvidia-smi", args: []string{"--query-gpu=name,memory.total", "--format=csv,noheader"},
		timeout: gpuTimeout, limit: maxOutput,
	})
	if errors.Is(err, errTooSlow) {
		c.note("GPUs are not recorded: nvidia-smi took too long")
	}
	if err != nil {
		return nil
	}
	var gpus []string
	for line := range strings.Lines(string(out)) {
		if g := text(line); strings.Contains(g, ",") { // not "No devices were found"
			gpus = append(gpus, g)
		}
	}
	return gpus
}

// cpuModel reads /proc/cpuinfo. ARM kernels name no model there.
func cpuModel(machine fs.FS) string {
	info, _ := fs.ReadFile(machine, "proc/cpuinfo")
	for _, want := range []string{"model name", "cpu model", "Hardware", "Model"} {
		lines := bufio.NewScanner(bytes.NewReader(info))
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ":")
			if value = strings.TrimSpace(value); strings.TrimSpace(key) == want && value != "" {
				return value
			}
		}
	}
	return ""
}

// memory is the memory of the machine or of the cgroup, whichever is less, in bytes.
func memory(machine fs.FS) int64 {
	most := int64(math.MaxInt64)
	info, _ := fs.ReadFile(machine, "proc/meminfo")
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil && kb > 0 && kb < math.MaxInt64/1024 {
				most = kb * 1024
			}
		}
	}
	for _, dir := range cgroups(machine, "memory") {
		for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
			b, _ := fs.ReadFile(machine, path.Join(dir, name)) // "max" is no number, and no limit
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
				most = min(most, n)
			}
		}
	}
	if most == math.MaxInt64 {
		return 0
	}
	return most
}

// cores is the cgroup's limit of processors, rounded up; 0 where there is none.
func cores(machine fs.FS) int {
	least := 0
	limit := func(quota, period string) {
		q, err1 := strconv.ParseInt(quota, 10, 64)
		p, err2 := strconv.ParseInt(period, 10, 64)
		if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
			return // "max", or -1
		}
		if n := int(min((q-1)/p+1, math.MaxInt32)); least == 0 || n < least {
			least = n
		}
	}
	for _, dir := range cgroups(machine, "cpu") {
		if b, err := fs.ReadFile(machine, path.Join(dir, "cpu.max")); err == nil {
			if f := strings.Fields(string(b)); len(f) == 2 {
				limit(f[0], f[1])
			}
		}
		quota, err1 := fs.ReadFile(machine, path.Join(dir, "cpu.cfs_quota_us"))
		period, err2 := fs.ReadFile(machine, path.Join(dir, "cpu.cfs_period_us"))
		if err1 == nil && err2 == nil {
			limit(strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
		}
	}
	return least
}

// cgroups returns the directories whose limits hold for this process, version 2 and
// version 1: its group and every group above. Inside a container, /proc may name a
// group that is mounted as the root; the root is therefore always among them.
func cgroups(machine fs.FS, controller string) []string {
	var dirs []string
	b, _ := fs.ReadFile(machine, "proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		var root string
		switch {
		case f[0] == "0" && f[1] == "":
			root = "sys/fs/cgroup"
		case strings.Contains(","+f[1]+",", ","+controller+","):
			root = "sys/fs/cgroup/" + controller
		default:
			continue
		}
		for p := path.Clean("/" + f[2]); ; p = path.Dir(p) {
			dirs = append(dirs, path.Join(root, p))
			if p == "/" {
				break
			}
		}
	}
	return dirs
}
