package mlflow

import (
	"io"
	"net/http"
)

// serverRoutes are the endpoints about the server itself.
func (d *Dialect) serverRoutes() []Route {
	return []Route{
		{Method: get, Pattern: "/version", Support: Full, handle: serveVersion},
		{Method: get, Pattern: api3 + "/server-info", Support: Full, handle: serveInfo},
	}
}

func serveVersion(c *call) error {
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(c.w, Version)
	return err
}

// serverInfo says what a client may use beside what every server has.
type serverInfo struct {
	StoreType       string `json:"store_type"`
	Workspaces      bool   `json:"workspaces_enabled"`
	TraceArchival   bool   `json:"trace_archival_enabled"`
	MultipartUp     bool   `json:"multipart_uploads_enabled"`
	MultipartDown   bool   `json:"multipart_downloads_enabled"`
	PresignedRun    bool   `json:"presigned_upload_run_id_supported"`
	PresignedModel  bool   `json:"presigned_upload_model_id_supported"`
	FeaturesEnabled struct {
		Gateway bool `json:"gateway"`
	} `json:"features_enabled"`
}

func serveInfo(c *call) error {
	return c.answer(serverInfo{StoreType: "SqlStore", Workspaces: true}, nil)
}

// absent answers an endpoint that is not offered with the sentence that says so.
func absent(why string) func(*call) error {
	return func(*call) error {
		return &wireError{http.StatusNotFound, "ENDPOINT_NOT_FOUND", why}
	}
}
