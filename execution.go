package pedigree

import "time"

// Execution is one run of a batch job with a deployed version: what it read, what it wrote,
// how it ended.
type Execution struct {
	// ID is opaque: "exe_…".
	ID           string        `json:"id"`
	Project      ProjectName   `json:"project"`
	Target       TargetName    `json:"target"`
	TargetID     string        `json:"target_id"`
	DeploymentID string        `json:"deployment"`
	Model        Name          `json:"model"`
	ModelID      string        `json:"model_id"`
	Version      VersionNumber `json:"version"`
	Digest       Digest        `json:"digest,omitempty"`
	// Inputs are what it read, Outputs what it wrote.
	Inputs  []Output `json:"inputs,omitempty"`
	Outputs []Output `json:"outputs,omitempty"`
	// Exit is the exit code; nil while it runs, or where nobody reported the end.
	Exit       *int       `json:"exit,omitempty"`
	StartedAt  time.Time  `json:"started_at"`
	StartedBy  string     `json:"started_by"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Seq        int64      `json:"seq"`
}

// ExecutionReport is what a job says at its end.
type ExecutionReport struct {
	Exit    int      `json:"exit"`
	Inputs  []Output `json:"inputs,omitempty"`
	Outputs []Output `json:"outputs,omitempty"`
}

// MaxExecutionOutputs is the most inputs, and the most outputs, of one execution.
const MaxExecutionOutputs = 1000

func checkOutputs(lists ...[]Output) error {
	c := &checker{}
	for _, list := range lists {
		c.check(len(list) <= MaxExecutionOutputs, "an execution has at most %d inputs and as many outputs", MaxExecutionOutputs)
		for _, o := range list {
			c.text("name", o.Name, MaxPath)
			c.check(o.Name != "" || o.URI != "" || o.Digest != "", "an input or output needs a name, a URI or a digest")
			c.check(o.Size == nil || *o.Size >= 0, "size is negative")
		}
	}
	return c.failed
}

// StartExecution decides that a job begins to run what is active at p's target, under a new
// id. It returns [CodeRefused] where nothing is.
func (p *Place) StartExecution(id string, inputs []Output) ([]Draft, error) {
	if err := checkOutputs(inputs); err != nil {
		return nil, err
	}
	d := p.Current()
	if d == nil {
		return nil, Errorf(CodeRefused, "nothing is deployed at %s", p.Target.Name).WithFix("pedigree deploy MODEL/VERSION --to %s", p.Target.Name)
	}
	payload := Payload{"target": p.Target.ID, "deployment": d.ID, "model": d.ModelID, "version": d.Version}.with("digest", string(d.Digest))
	if len(inputs) > 0 {
		payload["inputs"] = inputs
	}
	return []Draft{{Type: ExecutionStarted, Subject: id, Refs: []string{p.Target.ID, d.ID, VersionSubject(d.ModelID, d.Version)}, Payload: payload}}, nil
}

// Finish decides that e ended. It returns [CodeRefused] where that was said before.
func (e *Execution) Finish(report ExecutionReport) ([]Draft, error) {
	if err := checkOutputs(report.Inputs, report.Outputs); err != nil {
		return nil, err
	}
	if e.Exit != nil {
		return nil, Errorf(CodeRefused, "execution %s ended at %s", e.ID, e.FinishedAt.Format(time.RFC3339))
	}
	payload := Payload{"exit": report.Exit}
	if len(report.Inputs) > 0 {
		payload["inputs"] = report.Inputs
	}
	if len(report.Outputs) > 0 {
		payload["outputs"] = report.Outputs
	}
	return []Draft{{Type: ExecutionFinished, Subject: e.ID, Refs: []string{e.TargetID, e.DeploymentID, VersionSubject(e.ModelID, e.Version)}, Payload: payload}}, nil
}

// FoldExecution fills e from its one or two events. It returns [CodeCorrupt].
func FoldExecution(e *Execution, events []Event) error {
	for i := range events {
		ev := &events[i]
		var list []Output
		for name, to := range map[string]*[]Output{"inputs": &e.Inputs, "outputs": &e.Outputs} {
			list = nil
			if ok, err := ev.Decode(name, &list); err != nil {
				return err
			} else if ok {
				*to = append(*to, list...)
			}
		}
		switch ev.Type {
		case ExecutionStarted:
			e.ID, e.Seq, e.StartedAt, e.StartedBy = ev.Subject, ev.Seq, ev.Time, ev.Actor
			e.TargetID, e.DeploymentID, e.ModelID, e.Version = ev.String("target"), ev.String("deployment"), ev.String("model"), ev.version()
			e.Digest = Digest(ev.String("digest"))
		case ExecutionFinished:
			if _, err := ev.Decode("exit", &e.Exit); err != nil {
				return err
			}
			e.FinishedAt = &ev.Time
		}
	}
	return nil
}
