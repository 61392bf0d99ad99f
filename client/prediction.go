package client

import (
	"context"
	"encoding/json"
	"net/http"
)

// PredictionSchema is the JSON Schema of a logged prediction as the server has it; this
// program has its own, pedigree.PredictionSchema.
func (c *Client) PredictionSchema(ctx context.Context) (json.RawMessage, error) {
	return ask[json.RawMessage](ctx, c, request{method: http.MethodGet, path: escape("schemas", "prediction", "v1")})
}
