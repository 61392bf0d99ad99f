package pedigree

import (
	"slices"
	"testing"
	"time"
)

// history makes deployments of a target one after the other, as the store tells them.
type history struct{ all []Delivered }

// open begins a deployment at an hour of testNow; each version n was registered n hours
// before.
func (h *history) open(target string, model Name, n VersionNumber, hour int) *Delivered {
	at := testNow.Add(time.Duration(hour) * time.Hour)
	h.all = append(h.all, Delivered{
		Deployment:   Deployment{ID: "dep", Seq: int64(hour), TargetID: target, Model: model, ModelID: "mdl_" + string(model), Version: n, Role: RolePrimary, State: DeploymentPending, OpenedAt: at},
		RegisteredAt: at.Add(-time.Duration(n) * time.Hour),
	})
	return &h.all[len(h.all)-1]
}

// active makes what was opened last active at once: what was, ends.
func (h *history) active(restores string) *Delivered {
	d := &h.all[len(h.all)-1]
	at, seq := d.OpenedAt, d.Seq
	for i := range h.all[:len(h.all)-1] {
		if o := &h.all[i]; o.TargetID == d.TargetID && o.State == DeploymentActive {
			o.State, o.EndedAt, o.EndSeq = DeploymentSuperseded, &at, &seq
			if restores != "" {
				o.State = DeploymentRolledBack
			}
		}
	}
	d.State, d.ActiveAt, d.ActiveSeq, d.Restores = DeploymentActive, &at, &seq, restores
	return d
}

// fail makes what was opened last fail half an hour later.
func (h *history) fail() {
	d := &h.all[len(h.all)-1]
	ended := d.OpenedAt.Add(time.Hour / 2)
	d.State, d.EndedAt = DeploymentFailing, &ended
}

func float(f float64) *Float {
	v := Float(f)
	return &v
}

func TestDeliveries(t *testing.T) {
	hour := func(n int) time.Time { return testNow.Add(time.Duration(n) * time.Hour) }
	from, to := hour(0), hour(7*24)
	for _, tt := range []struct {
		name  string
		build func(h *history)
		want  Delivery
	}{
		{"nothing", func(*history) {}, Delivery{}},
		{"one", func(h *history) {
			h.open("a", "fraud", 2, 1)
			h.active("")
		}, Delivery{Deployments: 1, PerWeek: 1, LeadTime: float(2 * 3600), FailureRate: float(0)}},
		{"one that waits", func(h *history) { h.open("a", "fraud", 2, 1) }, Delivery{}},
		{"one that was passed over", func(h *history) { h.open("a", "fraud", 2, 1).State = DeploymentSuperseded }, Delivery{}},
		{"one that was called off", func(h *history) { h.open("a", "fraud", 2, 1).State = DeploymentOver }, Delivery{}},
		{"one that failed", func(h *history) {
			h.open("a", "fraud", 2, 1)
			h.fail()
		}, Delivery{Failures: 1, FailureRate: float(1)}},
		{"two, one that failed between", func(h *history) {
			h.open("a", "fraud", 2, 1)
			h.active("")
			h.open("a", "fraud", 5, 2)
			h.fail()
			h.open("a", "fraud", 4, 3)
			h.active("")
		}, Delivery{Deployments: 2, PerWeek: 2, LeadTime: float(3 * 3600), Failures: 1, FailureRate: float(1.0 / 3)}},
		{"a rollback", func(h *history) {
			h.open("a", "fraud", 1, 1)
			h.active("")
			h.open("a", "fraud", 2, 10)
			h.active("")
			h.open("a", "fraud", 1, 13)
			h.active("dep")
		}, Delivery{Deployments: 2, PerWeek: 2, LeadTime: float(1.5 * 3600), Failures: 1, FailureRate: float(0.5), Rollbacks: 1, TimeToRestore: float(3 * 3600)}},
		{"a rollback of what came before the time", func(h *history) {
			h.open("a", "fraud", 1, -9)
			h.active("")
			h.open("a", "fraud", 2, -4)
			h.active("")
			h.open("a", "fraud", 1, 2)
			h.active("dep")
		}, Delivery{Rollbacks: 1, TimeToRestore: float(6 * 3600)}},
		{"a rollback where nothing stood", func(h *history) {
			h.open("a", "fraud", 1, 2)
			h.active("dep")
		}, Delivery{Rollbacks: 1}},
		{"the same version again has no lead time", func(h *history) {
			h.open("a", "fraud", 4, 1)
			h.active("")
			h.open("a", "fraud", 9, 2)
			h.active("")
			h.open("a", "fraud", 4, 3)
			h.active("")
		}, Delivery{Deployments: 3, PerWeek: 3, LeadTime: float(6.5 * 3600), FailureRate: float(0)}},
		{"nor one that was there before the time", func(h *history) {
			h.open("a", "fraud", 4, -5)
			h.active("")
			h.open("a", "fraud", 4, 3)
			h.active("")
		}, Delivery{Deployments: 1, PerWeek: 1, FailureRate: float(0)}},
		{"one that failed at first has", func(h *history) {
			h.open("a", "fraud", 4, -5)
			h.fail()
			h.open("a", "fraud", 4, 3)
			h.active("")
		}, Delivery{Deployments: 1, PerWeek: 1, LeadTime: float(4 * 3600), FailureRate: float(0)}},
		{"at two targets, twice", func(h *history) {
			h.open("a", "fraud", 2, 1)
			h.active("")
			h.open("b", "fraud", 2, 2)
			h.active("")
		}, Delivery{Deployments: 2, PerWeek: 2, LeadTime: float(2 * 3600), FailureRate: float(0)}},
		{"marked bad", func(h *history) {
			h.open("a", "fraud", 2, 1)
			h.active("").Bad = true
		}, Delivery{Deployments: 1, PerWeek: 1, LeadTime: float(2 * 3600), Failures: 1, FailureRate: float(1)}},
		{"at the first moment, not at the last", func(h *history) {
			h.open("a", "fraud", 2, 0)
			h.active("")
			h.open("a", "fraud", 3, 7*24)
			h.active("")
		}, Delivery{Deployments: 1, PerWeek: 1, LeadTime: float(2 * 3600), FailureRate: float(0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h history
			tt.build(&h)
			want := tt.want
			want.Project, want.Environment, want.From, want.To = "risk", "prod", from, to
			slices.Reverse(h.all) // any order will do
			got := Deliveries("risk", "prod", h.all, from, to)
			if !slices.ContainsFunc(got, func(d Delivery) bool { return d.Model == "" }) {
				t.Fatal("no line for all models")
			}
			checkDelivery(t, got[0], want)
		})
	}
}

func checkDelivery(t *testing.T, got, want Delivery) {
	t.Helper()
	checkEqual(t, "delivery", string(marshal(got)), string(marshal(want)))
}

// TestDeliveriesByModel: a line for all, then one a model by name.
func TestDeliveriesByModel(t *testing.T) {
	var h history
	h.open("a", "fraud", 1, 1)
	h.active("")
	h.open("b", "churn", 3, 2)
	h.active("")
	h.open("b", "churn", 5, 3)
	h.active("")
	got := Deliveries("risk", "prod", h.all, testNow, testNow.Add(14*24*time.Hour))
	var lines []string
	for _, d := range got {
		lines = append(lines, string(d.Model)+" "+VersionNumber(d.Deployments).String())
	}
	checkEqual(t, "lines", lines, []string{" 3", "churn 2", "fraud 1"})
	checkEqual(t, "per week", got[0].PerWeek, Float(1.5))
	checkEqual(t, "median of an even number", *got[1].LeadTime, Float(4*3600))
	checkEqual(t, "median of an odd number", *got[0].LeadTime, Float(3*3600))
	none := Deliveries("risk", "prod", nil, testNow, testNow)
	if len(none) != 1 || none[0].FailureRate != nil || none[0].LeadTime != nil || none[0].TimeToRestore != nil || none[0].PerWeek != 0 {
		t.Errorf("no time at all: %+v", none)
	}
}
