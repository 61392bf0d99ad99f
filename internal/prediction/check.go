package prediction

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Check says how a log is checked. It is for one log.
type Check struct {
	// Schema is what lines must fit besides the form of all predictions; nil for nothing.
	Schema *Schema
	// Listed is the most bad lines whose problems are listed.
	Listed int
	// Steps is the most schemas that are visited for all lines together; 0 for any number.
	Steps int64
}

// maxNamed is the most versions whose lines are counted.
const maxNamed = 1000

// Read checks every line of r; name is that of the log, for errors. It returns
// [pedigree.CodeCorrupt] where r can't be read to its end, an error of r's own as it is,
// and [pedigree.CodeTooLarge] where the steps don't suffice.
func (c *Check) Read(ctx context.Context, name string, r io.Reader) (pedigree.PredictionCheck, error) {
	var out pedigree.PredictionCheck
	left := c.Steps
	versions := map[string]int{}
	err := Lines(ctx, name, r, func(n int, line []byte) error {
		out.Lines++
		p, err := pedigree.ParsePrediction(line)
		var own *pedigree.Error
		var wrong []string
		fix := ""
		switch {
		case errors.As(err, &own):
			wrong, fix = []string{own.Message}, own.Fix
		case err != nil:
			return err
		case c.Schema != nil:
			steps := int64(lineSteps)
			if c.Steps > 0 {
				steps = min(steps, left)
			}
			var took int64
			wrong, took = c.Schema.problems(line, &p, steps)
			if left -= took; c.Steps > 0 && left <= 0 {
				return pedigree.Errorf(pedigree.CodeTooLarge, "the lines take too long to compare with the log schema of %s: this is as far as line %d", c.Schema.of, n).
					WithFix("send fewer at a time, or check them where they lie: pedigree predictions check FILE")
			}
		}
		if len(wrong) > 0 {
			if out.Bad++; out.Bad <= c.Listed {
				out.Problems = append(out.Problems, pedigree.PredictionProblem{Line: n, ID: p.ID, Problems: wrong, Fix: fix})
			}
			return nil
		}
		span(&out, p.Time)
		if key := named(&p); versions[key] > 0 || len(versions) < maxNamed {
			versions[key]++
		}
		return nil
	})
	for _, key := range slices.Sorted(maps.Keys(versions)) {
		out.Versions = append(out.Versions, pedigree.PredictedVersion{Name: key, Lines: versions[key]})
	}
	return out, err
}

func span(out *pedigree.PredictionCheck, t time.Time) {
	if out.From == nil || t.Before(*out.From) {
		out.From = &t
	}
	if out.To == nil || t.After(*out.To) {
		out.To = &t
	}
}

// named is the version of a line as the line names it.
func named(p *pedigree.Prediction) string {
	switch {
	case p.Model != "" && p.Version != 0:
		v := pedigree.Version{Project: cmp.Or(p.Project, pedigree.DefaultProject), Model: p.Model, Number: p.Version}
		return v.Reference().String()
	case p.Deployment != "":
		return p.Deployment
	case p.Digest != "":
		return string(p.Digest)
	}
	return "target:" + string(p.Target)
}

// gzipMagic begins what gzip packed.
var gzipMagic = []byte{0x1f, 0x8b}

// Packed says whether a text begins as what gzip packed does.
func Packed(begin []byte) bool { return bytes.HasPrefix(begin, gzipMagic) }

// Unpack returns what r holds, unpacked where gzip packed it. It returns
// [pedigree.CodeCorrupt].
func Unpack(name string, r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(r)
	if magic, _ := buffered.Peek(len(gzipMagic)); !Packed(magic) {
		return buffered, nil
	}
	z, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeCorrupt, "%s can't be unpacked: %w", name, err)
	}
	return z, nil
}

// Lines gives every line of r to each, with its number from 1; blank ones are left out. A
// line that is too long comes cut, a byte over the limit. Errors are as those of
// [Check.Read], and each's.
func Lines(ctx context.Context, name string, r io.Reader, each func(n int, line []byte) error) error {
	in := bufio.NewReaderSize(r, 256<<10)
	var line []byte
	for n := 1; ; n++ {
		line = line[:0]
		var err error
		for {
			var part []byte
			part, err = in.ReadSlice('\n')
			if room := pedigree.MaxPrediction + 2 - len(line); room > 0 { // with its line end
				line = append(line, part[:min(len(part), room)]...)
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		text := bytes.TrimRight(line, "\r\n")
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(bytes.TrimSpace(text)) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			if err := each(n, text); err != nil {
				return err
			}
		}
		var own *pedigree.Error
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &own):
			return err
		case err != nil:
			return pedigree.Errorf(pedigree.CodeCorrupt, "%s can't be read after line %d: %w", name, n-1, err)
		}
	}
}
