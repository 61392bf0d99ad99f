package httpapi

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
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

// whichPrediction reads the line as a log has it, and not as other bodies are read: what is
// wrong with it is said as it is of the line in the log.
func (a *API) whichPrediction(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	line, err := pedigree.ParsePredictionHead(c.body)
	if err != nil {
		return err
	}
	list, err := a.registrar.WhichPrediction(c.ctx(), c.principal, project, &line, at)
	return answerList(c, list, err)
}

func (a *API) checkPredictions(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	var target pedigree.TargetName
	if text := c.query.Get("target"); text != "" {
		if target, err = pedigree.ParseTarget(text); err != nil {
			return param("target", err)
		}
	}
	lines, err := httpx.UploadUpTo(c.w, c.r, pedigree.MaxPredictionLog)
	if err != nil {
		return err
	}
	check, err := a.registrar.CheckPredictions(c.ctx(), c.principal, project, target, lines)
	return c.answer(check, err)
}
