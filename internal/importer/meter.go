package importer

import (
	"sync"

	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

// meter adds up how the files of one version arrive.
type meter struct {
	mu    sync.Mutex
	tell  client.Progress
	event client.ProgressEvent
}

func newMeter(tell client.Progress, stage string, files []upstream.File) *meter {
	m := &meter{tell: tell, event: client.ProgressEvent{Stage: stage, TotalFiles: len(files)}}
	for _, f := range files {
		m.event.Total += max(f.Size, 0)
	}
	return m
}

// add says that n more bytes of a file, and perhaps its end, are through.
func (m *meter) add(path string, n int64, finished bool) {
	if m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.event.Path = path
	m.event.Done += n
	if finished {
		m.event.Files++
	}
	m.tell(m.event)
}

// counter is a writer that only counts.
type counter struct {
	m    *meter
	path string
}

func (c counter) Write(p []byte) (int, error) {
	c.m.add(c.path, int64(len(p)), false)
	return len(p), nil
}
