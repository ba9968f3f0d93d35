package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// WriteJSON writes any of this package's results as a document.
func WriteJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// ErrSchema is a file that is not one of this package's documents.
var ErrSchema = errors.New("not a result of untornbench")

// Load reads a document back: a *Result, *WALResult, *LimitResult, *ModesResult,
// *SweepResult, *WALSweepResult or *RecoveryResult.
func Load(path string) (any, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrSchema, err)
	}
	var v any
	switch head.Schema {
	case SchemaRun:
		v = new(Result)
	case SchemaWAL:
		v = new(WALResult)
	case SchemaLimit:
		v = new(LimitResult)
	case SchemaCompare:
		v = new(ModesResult)
	case SchemaSweep:
		v = new(SweepResult)
	case SchemaRecovery:
		v = new(RecoveryResult)
	case SchemaWALSweep:
		v = new(WALSweepResult)
	default:
		return nil, fmt.Errorf("%s: %w: schema %q", path, ErrSchema, head.Schema)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrSchema, err)
	}
	return v, nil
}
