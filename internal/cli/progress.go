package cli

import (
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"

	"github.com/pedigree-ml/pedigree/client"
)

// bar shows the progress of a push or a pull on standard error, while that is a
// terminal: bytes, rate and time left, one line for each stage.
type bar struct {
	writer progress.Writer // nil: nothing is shown
	stage  string
	track  *progress.Tracker
}

func (a *app) newProgress() *bar {
	if a.quiet || !terminal(a.stderr) {
		return &bar{}
	}
	w := progress.NewWriter()
	w.SetOutputWriter(a.stderr)
	w.SetAutoStop(false)
	w.SetUpdateFrequency(100 * time.Millisecond)
	w.SetTrackerLength(24)
	w.SetMessageLength(32)
	w.SetTrackerPosition(progress.PositionRight)
	style := progress.StyleDefault
	if !a.noColor {
		style.Colors = progress.StyleColorsExample
	}
	style.Visibility.ETA = true
	style.Visibility.Speed = true
	w.SetStyle(style)
	go w.Render()
	return &bar{writer: w}
}

// event takes what the SDK reports; it may be called from several goroutines at once
// only as the SDK promises not to.
func (b *bar) event(e client.ProgressEvent) {
	if b.writer == nil {
		return
	}
	if b.track == nil || b.stage != e.Stage {
		if b.track != nil {
			b.track.MarkAsDone()
		}
		b.stage = e.Stage
		b.track = &progress.Tracker{Message: e.Stage, Total: e.Total, Units: progress.UnitsBytes}
		b.writer.AppendTracker(b.track)
	}
	b.track.UpdateTotal(e.Total)
	b.track.SetValue(e.Done)
	if e.TotalFiles > 1 && e.Path != "" {
		b.track.UpdateMessage(e.Stage + " " + cut(printable(e.Path), 22))
	}
}

// stop ends the display; what was shown stays.
func (b *bar) stop() {
	if b.writer == nil {
		return
	}
	if b.track != nil {
		b.track.UpdateMessage(b.stage)
		b.track.MarkAsDone()
	}
	time.Sleep(150 * time.Millisecond) // one more frame, the last
	b.writer.Stop()
	b.writer = nil // another stop has nothing to do
}
