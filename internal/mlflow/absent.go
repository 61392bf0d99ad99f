package mlflow

// absentRoutes are the endpoints of MLflow that are not offered. A client gets MLflow's
// error and a sentence, and does not try again.
func (d *Dialect) absentRoutes() []Route {
	var routes []Route
	add := func(why string, endpoints ...string) {
		for i := 0; i+1 < len(endpoints); i += 2 {
			routes = append(routes, Route{Method: endpoints[i], Pattern: endpoints[i+1], Support: None, Why: why, Raw: true, handle: absent(why)})
		}
	}
	traces := "Pedigree keeps models, runs and their history; it does not keep traces."
	for _, method := range []string{get, post, patch, put, remove} {
		add(traces, method, api+"/traces", method, api+"/traces/{rest...}", method, api3+"/traces", method, api3+"/traces/{rest...}")
		add("Pedigree does not keep evaluation data sets; data references of a version say what it was trained on.",
			method, api3+"/datasets/{rest...}")
		add("Pedigree is no gateway to language models.", method, api3+"/gateway/{rest...}")
		add("Pedigree does not run evaluations; attach their results as evidence.",
			method, api3+"/scorers/{rest...}", method, api3+"/issues", method, api3+"/issues/{rest...}",
			method, api3+"/label-schemas/{rest...}", method, api3+"/review-queues/{rest...}",
			method, api3+"/prompt-optimization/{rest...}")
	}
	add(traces, get, api+"/unified-traces", get, api+"/get-online-trace-details", get, api+"/get-trace-artifact", get, api3+"/get-trace-artifact")
	add("Pedigree is no gateway to language models.", get, api+"/gateway-proxy", post, api+"/gateway-proxy", post, api+"/runs/create-promptlab-run")
	add("Pedigree does not run evaluations; attach their results as evidence.",
		post, api3+"/scorer/invoke", post, api3+"/genai/evaluate/invoke", get, api3+"/jobs/{job}", patch, api3+"/jobs/cancel/{job}")
	add("This belongs to MLflow's web pages, which Pedigree does not serve.",
		get, "/graphql", post, "/graphql", get, api3+"/ui-telemetry", post, api3+"/ui-telemetry", post, api3+"/demo/generate", post, api3+"/demo/delete")
	return routes
}
