package pedigree

import (
	"testing"
	"time"
)

func TestObservationNormalize(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Observation
		want ErrorCode
	}{
		{"a deployment", Observation{Instance: "pod-1", Deployment: "dep_1"}, ""},
		{"a digest", Observation{Instance: "pod-1", Digest: testDigest("x")}, ""},
		{"a version", Observation{Instance: "pod-1", Model: "fraud", Version: 7}, ""},
		{"nobody", Observation{Deployment: "dep_1"}, CodeInvalid},
		{"nothing", Observation{Instance: "pod-1"}, CodeInvalid},
		{"a model alone", Observation{Instance: "pod-1", Model: "fraud"}, CodeInvalid},
		{"a version alone", Observation{Instance: "pod-1", Version: 7}, CodeInvalid},
		{"NUL in the instance", Observation{Instance: "a\x00", Deployment: "dep_1"}, CodeInvalid},
		{"NUL in the deployment", Observation{Instance: "pod-1", Deployment: "dep_\x00"}, CodeInvalid},
		{"no deployment", Observation{Instance: "pod-1", Deployment: "fraud/7"}, CodeInvalid},
	} {
		checkCode(t, tt.name, tt.o.Normalize(), tt.want)
	}
}

func TestRuns(t *testing.T) {
	d := testDeployment(RolePrimary, DeploymentActive)
	d.Digest = testDigest("a")
	for _, tt := range []struct {
		name string
		i    Instance
		want bool
	}{
		{"the deployment", Instance{Deployment: "dep_7"}, true},
		{"another deployment", Instance{Deployment: "dep_6"}, false},
		{"another deployment of the version", Instance{Deployment: "dep_6", ModelID: "mdl_fraud", Version: 7}, true},
		{"the version", Instance{ModelID: "mdl_fraud", Version: 7}, true},
		{"another version of the same bytes", Instance{ModelID: "mdl_fraud", Version: 6, Digest: testDigest("a")}, false},
		{"the version with other bytes", Instance{ModelID: "mdl_fraud", Version: 7, Digest: testDigest("b")}, false},
		{"the deployment with other bytes", Instance{Deployment: "dep_7", Digest: testDigest("b")}, false},
		{"another model", Instance{ModelID: "mdl_churn", Version: 7}, false},
		{"the digest", Instance{Digest: testDigest("a")}, true},
		{"another digest", Instance{Digest: testDigest("b")}, false},
		{"nothing", Instance{}, false},
	} {
		checkEqual(t, tt.name, tt.i.Runs(d), tt.want)
		checkEqual(t, tt.name+", nothing deployed", tt.i.Runs(nil), false)
	}
	d.Digest = ""
	i := Instance{Digest: testDigest("a")}
	checkEqual(t, "no bytes known", i.Runs(d), false)
}

// TestObserve: an event where something changed, and the activation of what waits for it.
func TestObserve(t *testing.T) {
	is := func(n VersionNumber) Instance { return Instance{Instance: "pod-1", ModelID: "mdl_fraud", Version: n} }
	seven, six := is(7), is(6)
	changed, activated := "instance.changed", "deployment.activated alias.moved"
	for _, tt := range []struct {
		name    string
		confirm Confirm
		pending *Deployment
		before  *Instance
		now     Instance
		want    string
	}{
		{"first seen", ConfirmReport, nil, nil, six, changed},
		{"the same", ConfirmReport, nil, &six, six, ""},
		{"another version", ConfirmReport, nil, &seven, six, changed},
		{"what waits for a report", ConfirmReport, testDeployment(RolePrimary, DeploymentPending), nil, seven, changed},
		{"what waits for it", ConfirmObservation, testDeployment(RolePrimary, DeploymentPending), nil, seven, changed + " " + activated},
		{"what waits for it, seen before", ConfirmObservation, testDeployment(RolePrimary, DeploymentPending), &seven, seven, activated},
		{"another", ConfirmObservation, testDeployment(RolePrimary, DeploymentPending), nil, six, changed},
		{"a canary", ConfirmObservation, testDeployment(RoleCanary, DeploymentPending), nil, seven, changed + " deployment.activated"},
		{"what is active", ConfirmObservation, testDeployment(RoleCanary, DeploymentActive), nil, seven, changed},
	} {
		p := testPlace(tt.confirm, "production")
		if tt.pending != nil {
			tt.pending.Confirm = tt.confirm
			p.Standing = append(p.Standing, *tt.pending)
		}
		drafts := p.Observe(tt.before, tt.now, &Version{})
		checkEqual(t, tt.name, types(drafts), tt.want)
		for _, d := range drafts {
			switch d.Type {
			case InstanceChanged:
				checkEqual(t, tt.name, d.Subject, "tgt_1")
				checkEqual(t, tt.name, d.Payload, Payload{"instance": "pod-1", "model": "mdl_fraud", "version": tt.now.Version})
			case DeploymentActivated:
				checkEqual(t, tt.name, d.Payload["how"], "observation")
			}
		}
	}
	for name, i := range map[string]Instance{
		"deployment": {Deployment: "dep_1"}, "model": {ModelID: "mdl_x"}, "version": {Version: 1}, "digest": {Digest: testDigest("x")},
	} {
		p := testPlace(ConfirmNone, "")
		checkEqual(t, name+" changed", len(p.Observe(&Instance{}, i, nil)), 1)
	}
	var s story
	p := testPlace(ConfirmNone, "")
	e := s.add("pod", p.Observe(nil, six, nil)...)
	checkEqual(t, "of two reports of one instance, one is late", e.Touches(), []string{InstanceKey("tgt_1", "pod-1")})
}

// TestCompare counts who lags and who is silent; whoever is silent is not counted as
// lagging too.
func TestCompare(t *testing.T) {
	desired := testDeployment(RolePrimary, DeploymentActive)
	instance := func(n VersionNumber, ago time.Duration) Instance {
		return Instance{ModelID: "mdl_fraud", Version: n, SeenAt: testNow.Add(-ago)}
	}
	s := TargetStatus{Current: desired, Instances: []Instance{
		instance(7, 0), instance(6, 0), instance(7, 5*time.Minute), instance(7, 5*time.Minute+1), instance(6, time.Hour),
	}}
	for range 2 { // counting again changes nothing
		s.Compare(testNow)
		checkEqual(t, "lagging", s.Lagging, 1)
		checkEqual(t, "silent", s.Silent, 2)
		var matches, silent []bool
		for _, i := range s.Instances {
			matches, silent = append(matches, i.Matches), append(silent, i.Silent)
		}
		checkEqual(t, "matches", matches, []bool{true, false, true, true, false})
		checkEqual(t, "silent", silent, []bool{false, false, false, true, true})
	}
	s.Target.SilentAfter = Duration(2 * time.Hour)
	s.Compare(testNow)
	checkEqual(t, "lagging", s.Lagging, 2)
	checkEqual(t, "silent", s.Silent, 0)
	canary := testDeployment(RoleCanary, DeploymentActive)
	canary.Version = 6
	s.Others = []Deployment{*canary}
	s.Compare(testNow)
	checkEqual(t, "lagging beside a canary of what they run", s.Lagging, 0)
	s.Others = nil
	next := testDeployment(RolePrimary, DeploymentPending)
	next.Version = 6
	for confirm, lagging := range map[Confirm]int{ConfirmReport: 0, ConfirmObservation: 3} {
		next.Confirm, s.Pending = confirm, next
		s.Compare(testNow)
		checkEqual(t, "lagging while one waits for "+string(confirm), s.Lagging, lagging)
	}
	s.Barred, next.Confirm = "fraud/6 was withdrawn", ConfirmObservation
	s.Compare(testNow)
	checkEqual(t, "lagging behind what runs, while what waits is barred", s.Lagging, 2)
	checkEqual(t, "desired is what runs", s.Desired(), desired)
	s.Barred, s.Current, s.Pending = "", nil, nil
	s.Compare(testNow)
	checkEqual(t, "nothing desired", s.Lagging, 5)
}

// TestLagsSince: since what is desired became so, or since an instance began to run
// something else; and of a target, the longest.
func TestLagsSince(t *testing.T) {
	at := func(minutes int) time.Time { return testNow.Add(time.Duration(minutes) * time.Minute) }
	deployment := func(role DeploymentRole, state DeploymentState, n VersionNumber, opened, active int) *Deployment {
		d := testDeployment(role, state)
		d.Version, d.OpenedAt, d.ActiveAt = n, at(opened), nil
		if state == DeploymentActive {
			since := at(active)
			d.ActiveAt = &since
		}
		return d
	}
	current := deployment(RolePrimary, DeploymentActive, 7, -31, -30)
	next := deployment(RolePrimary, DeploymentPending, 8, -10, 0)
	next.Confirm = ConfirmObservation
	reported := deployment(RolePrimary, DeploymentPending, 8, -10, 0)
	reported.Confirm = ConfirmReport
	instance := func(n VersionNumber, since, seen int) Instance {
		return Instance{ModelID: "mdl_fraud", Version: n, Since: at(since), SeenAt: at(seen)}
	}
	const never = 1
	for _, tt := range []struct {
		name             string
		current, pending *Deployment
		barred           string
		others           []Deployment
		instances        []Instance
		each             []int // minutes, never for an instance that matches
		lagging, silent  int
	}{
		{"all is well", current, nil, "", nil, []Instance{instance(7, -29, 0)}, []int{never}, never, never},
		{"it has not followed", current, nil, "", nil, []Instance{instance(6, -90, 0)}, []int{-30}, -30, never},
		{"it ran something else since", current, nil, "", nil, []Instance{instance(6, -5, 0)}, []int{-5}, -5, never},
		{"the longest of several", current, nil, "", nil, []Instance{instance(6, -5, 0), instance(6, -90, 0), instance(7, -29, 0), instance(5, -8, 0)}, []int{-5, -30, never, -8}, -30, never},
		{"who is silent is not among those who lag", current, nil, "", nil, []Instance{instance(6, -90, -20), instance(6, -5, 0), instance(7, -29, -6)}, []int{-30, -5, never}, -5, -20},
		{"what waits to be seen is desired", current, next, "", nil, []Instance{instance(7, -29, 0), instance(8, -3, 0)}, []int{-10, never}, -10, never},
		{"what waits for a report is not", current, reported, "", nil, []Instance{instance(7, -29, 0), instance(6, -90, 0)}, []int{never, -30}, -30, never},
		{"what waits and is barred is not", current, next, "fraud/8 was withdrawn", nil, []Instance{instance(7, -29, 0), instance(8, -3, 0)}, []int{never, -3}, -3, never},
		{"a canary is wanted", current, nil, "", []Deployment{*deployment(RoleCanary, DeploymentActive, 9, -4, -4)}, []Instance{instance(9, -3, 0)}, []int{never}, never, never},
		{"nothing is desired", nil, nil, "", nil, []Instance{instance(7, -29, 0)}, []int{-29}, -29, never},
		{"nobody is there", current, nil, "", nil, nil, nil, never, never},
	} {
		s := TargetStatus{Current: tt.current, Pending: tt.pending, Barred: tt.barred, Others: tt.others, Instances: tt.instances}
		for range 2 { // looking again changes nothing
			s.Compare(testNow)
			minutes := func(since *time.Time) int {
				if since == nil {
					return never
				}
				return int(since.Sub(testNow) / time.Minute)
			}
			var each []int
			for i := range s.Instances {
				each = append(each, minutes(s.Instances[i].LagsSince))
			}
			checkEqual(t, tt.name+": each lags since", each, tt.each)
			checkEqual(t, tt.name+": lagging since", minutes(s.LaggingSince), tt.lagging)
			checkEqual(t, tt.name+": silent since", minutes(s.SilentSince), tt.silent)
		}
	}
}
