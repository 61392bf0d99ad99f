package httpapi

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/pedigree-ml/pedigree"
)

const schemaJSON = "application/schema+json"

// servePredictionSchema serves the schema of a logged prediction. Version 1 never
// changes, so that whoever asks may keep it.
func servePredictionSchema(c *call) error {
	schema := pedigree.PredictionSchema()
	h := c.w.Header()
	h.Set("Content-Type", schemaJSON)
	h.Set("Cache-Control", "public, max-age=86400")
	h.Set("Etag", strconv.Quote(pedigree.DigestBytes(schema).Short()))
	http.ServeContent(c.w, c.r, "", time.Time{}, bytes.NewReader(schema))
	return nil
}
