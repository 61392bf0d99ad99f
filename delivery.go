package pedigree

import (
	"cmp"
	"slices"
	"time"
)

// Delivery says how a project delivers models into an environment, out of the log alone:
// the four measures of DORA (dora.dev), for a model, or for all of a project where Model is
// "". Times are in seconds; nil where there was nothing to measure.
type Delivery struct {
	Project     ProjectName `json:"project"`
	Model       Name        `json:"model,omitempty"`
	Environment string      `json:"environment"`
	From        time.Time   `json:"from"`
	To          time.Time   `json:"to"`
	// Deployments are the primaries that became active in the time, rollbacks apart;
	// PerWeek is how many that makes in seven days.
	Deployments int   `json:"deployments"`
	PerWeek     Float `json:"per_week"`
	// LeadTime is the median time from a version's registration to its first activation.
	LeadTime *Float `json:"lead_time_seconds"`
	// Failures are those of them, and the ones that never became active, that failed,
	// were rolled back or were marked bad; FailureRate their part.
	Failures    int    `json:"failures"`
	FailureRate *Float `json:"failure_rate"`
	// Rollbacks are the restorations in the time; TimeToRestore is the median time from
	// the activation of what was rolled back to that of what took its place.
	Rollbacks     int    `json:"rollbacks"`
	TimeToRestore *Float `json:"time_to_restore_seconds"`
}

// Delivered is one deployment as [Deliveries] needs it.
type Delivered struct {
	Deployment
	// RegisteredAt is when its version was registered.
	RegisteredAt time.Time
}

// Deliveries makes the report of a project, first of all its models together and then of
// each by name, out of the primary deployments of the environment's targets, of any time:
// those before the time that is asked about are needed to tell what was rolled back.
func Deliveries(project ProjectName, environment string, all []Delivered, from, to time.Time) []Delivery {
	byModel := map[Name][]Delivered{}
	for _, d := range all {
		byModel[d.Model] = append(byModel[d.Model], d)
	}
	out := []Delivery{deliver(all, from, to)}
	for _, name := range sortedNames(byModel) {
		d := deliver(byModel[name], from, to)
		d.Model = name
		out = append(out, d)
	}
	for i := range out {
		out[i].Project, out[i].Environment, out[i].From, out[i].To = project, environment, from, to
	}
	return out
}

func sortedNames(m map[Name][]Delivered) []Name {
	names := make([]Name, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func deliver(all []Delivered, from, to time.Time) Delivery {
	var out Delivery
	within := func(t *time.Time) bool { return t != nil && !t.Before(from) && t.Before(to) }
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Delivered) int { return cmp.Compare(a.Seq, b.Seq) })
	first := map[string]bool{} // versions that were active before, by target
	var lead, restore []float64
	attempts := 0
	for i := range all {
		d := &all[i]
		if d.Restores != "" {
			if within(d.ActiveAt) {
				out.Rollbacks++
				if bad := rolledBackBy(all, d); bad != nil {
					restore = append(restore, d.ActiveAt.Sub(*bad.ActiveAt).Seconds())
				}
			}
			continue
		}
		began := d.ActiveAt
		if began == nil {
			if d.State != DeploymentFailing {
				continue // it waits, or was passed over
			}
			began = d.EndedAt
		}
		key := d.TargetID + " " + VersionSubject(d.ModelID, d.Version)
		again := first[key]
		first[key] = first[key] || d.ActiveAt != nil
		if !within(began) {
			continue
		}
		attempts++
		if d.ActiveAt != nil {
			out.Deployments++
			if !again {
				lead = append(lead, d.ActiveAt.Sub(d.RegisteredAt).Seconds())
			}
		}
		if d.State == DeploymentFailing || d.State == DeploymentRolledBack || d.Bad {
			out.Failures++
		}
	}
	if span := to.Sub(from); span > 0 {
		out.PerWeek = Float(float64(out.Deployments) / (span.Hours() / (7 * 24)))
	}
	if attempts > 0 {
		rate := Float(float64(out.Failures) / float64(attempts))
		out.FailureRate = &rate
	}
	out.LeadTime, out.TimeToRestore = median(lead), median(restore)
	return out
}

// rolledBackBy is the deployment that d, a rollback, took the place of: the one at the same
// target that its activation ended.
func rolledBackBy(all []Delivered, d *Delivered) *Delivered {
	for i := range all {
		if b := &all[i]; b.TargetID == d.TargetID && b.ActiveAt != nil && b.EndSeq != nil && d.ActiveSeq != nil && *b.EndSeq == *d.ActiveSeq {
			return b
		}
	}
	return nil
}

func median(values []float64) *Float {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	m := Float(values[len(values)/2])
	if len(values)%2 == 0 {
		m = Float((values[len(values)/2-1] + values[len(values)/2]) / 2)
	}
	return &m
}
