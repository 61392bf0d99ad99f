package pedigree

import (
	"bytes"
	"encoding/json"
	"math"
	"path"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ArtifactKind says where a version's bytes are.
type ArtifactKind string

// The kinds of artifact.
const (
	ArtifactStored ArtifactKind = "stored" // here, as content-addressed files under one manifest
	ArtifactLinked ArtifactKind = "linked" // elsewhere, at a URI
	ArtifactNone   ArtifactKind = "none"   // the version has a record only
)

// Artifact is what a version is made of.
type Artifact struct {
	Kind ArtifactKind `json:"kind"`
	// Digest is the artifact digest: of the OCI manifest where stored, of the
	// linked object where it could be read, empty where unknown.
	Digest Digest `json:"digest,omitempty"`
	// Size is the sum of the file sizes in bytes; for a link what its store said,
	// nil where unknown.
	Size *int64 `json:"size,omitempty"`
	// URI is where a linked artifact is. Where the caller of a registration named a
	// source, it is kept here whatever the kind.
	URI SafeURI `json:"uri,omitempty"`
	// Files are the files of a stored artifact, sorted by path.
	Files []File `json:"files,omitempty"`
}

// File is one file of a stored artifact.
type File struct {
	// Path is relative, slash-separated and clean: no "..", no empty part.
	Path string `json:"path"`
	// Size in bytes.
	Size int64 `json:"size"`
	// Digest of the content.
	Digest Digest `json:"digest"`
	// Executable is the only file mode that is kept.
	Executable bool `json:"executable,omitempty"`
}

// OCI media types of a stored artifact, of the image specification 1.1 and of the
// CNCF ModelPack specification 0.0.7.
const (
	MediaTypeManifest     = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeModel        = "application/vnd.cncf.model.manifest.v1+json"
	MediaTypeModelConfig  = "application/vnd.cncf.model.config.v1+json"
	annotationFilepath    = "org.cncf.model.filepath"
	annotationFileMeta    = "org.cncf.model.file.metadata+json"
	executableAnnotation  = `{"mode":493}` // 0755
	mediaTypeWeight       = "application/vnd.cncf.model.weight.v1.raw"
	mediaTypeWeightConfig = "application/vnd.cncf.model.weight.config.v1.raw"
	mediaTypeDoc          = "application/vnd.cncf.model.doc.v1.raw"
	mediaTypeCode         = "application/vnd.cncf.model.code.v1.raw"
)

// descriptor, manifest and modelConfig are the OCI wire structs. The order of
// their fields is part of the artifact digest and never changes.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      Digest            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	ArtifactType  string       `json:"artifactType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type modelConfig struct {
	Descriptor struct{} `json:"descriptor"`
	Config     struct{} `json:"config"`
	ModelFS    struct {
		Type    string   `json:"type"`
		DiffIDs []Digest `json:"diffIds"`
	} `json:"modelfs"`
}

// Manifest returns the OCI manifest of files and the ModelPack config that it
// names. Both are pure functions of the sorted paths, sizes, executable bits and
// file digests: no times, names or owners. The digest of the manifest is the
// artifact digest. It returns what [CheckFiles] returns.
func Manifest(files []File) (manifestJSON, configJSON []byte, err error) {
	if err := CheckFiles(files); err != nil {
		return nil, nil, err
	}
	files = sortedFiles(files)
	var cfg modelConfig
	cfg.ModelFS.Type = "layers"
	layers := make([]descriptor, len(files))
	for i, f := range files {
		cfg.ModelFS.DiffIDs = append(cfg.ModelFS.DiffIDs, f.Digest)
		layers[i] = descriptor{
			MediaType: layerType(f.Path), Digest: f.Digest, Size: f.Size,
			Annotations: map[string]string{annotationFilepath: f.Path},
		}
		if f.Executable {
			layers[i].Annotations[annotationFileMeta] = executableAnnotation
		}
	}
	configJSON = marshal(cfg)
	manifestJSON = marshal(manifest{
		SchemaVersion: 2, MediaType: MediaTypeManifest, ArtifactType: MediaTypeModel,
		Config: descriptor{MediaType: MediaTypeModelConfig, Digest: DigestBytes(configJSON), Size: int64(len(configJSON))},
		Layers: layers,
	})
	return manifestJSON, configJSON, nil
}

// StoredArtifact returns the artifact that files make: sorted, with digest and size.
// It returns what [CheckFiles] returns.
func StoredArtifact(files []File) (Artifact, error) {
	manifestJSON, _, err := Manifest(files)
	if err != nil {
		return Artifact{}, err
	}
	var size int64
	for _, f := range files {
		size += f.Size
	}
	return Artifact{Kind: ArtifactStored, Digest: DigestBytes(manifestJSON), Size: &size, Files: sortedFiles(files)}, nil
}

func sortedFiles(files []File) []File {
	files = append([]File(nil), files...)
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	return files
}

func layerType(p string) string {
	base, ext := strings.ToLower(path.Base(p)), strings.ToLower(path.Ext(p))
	switch {
	case ext == ".md" || strings.HasPrefix(base, "license") || strings.HasPrefix(base, "readme"):
		return mediaTypeDoc
	case ext == ".py" || ext == ".ipynb" || ext == ".sh" || ext == ".r" || ext == ".go":
		return mediaTypeCode
	case ext == ".json" || ext == ".yaml" || ext == ".yml" || ext == ".toml" || ext == ".txt" || base == "mlmodel":
		return mediaTypeWeightConfig
	default:
		return mediaTypeWeight
	}
}

// CheckFiles checks that files can be one artifact on any file system: at least
// one and at most [MaxFiles], every path clean and relative, no path that is also a
// folder of another, none that differ by case alone. It returns [CodeInvalid] or
// [CodeTooLarge].
func CheckFiles(files []File) error {
	if len(files) == 0 {
		return Errorf(CodeInvalid, "a stored artifact needs at least one file")
	}
	if len(files) > MaxFiles {
		return Errorf(CodeTooLarge, "the artifact has %d files, the limit is %d", len(files), MaxFiles).
			WithFix("pack small files into an archive first")
	}
	spelling := map[string]string{} // folded path → the spelling seen first
	kind := map[string]bool{}       // folded path → is a file
	var total int64
	for _, f := range files {
		if err := CheckPath(f.Path); err != nil {
			return err
		}
		if _, err := ParseDigest(string(f.Digest)); err != nil {
			return err
		}
		if f.Size < 0 {
			return Errorf(CodeInvalid, "file %q: size %d is negative", f.Path, f.Size)
		}
		if total += f.Size; total < 0 {
			return Errorf(CodeTooLarge, "the files together have more than %d bytes", int64(math.MaxInt64))
		}
		for p, isFile := f.Path, true; p != "."; p, isFile = path.Dir(p), false {
			key := fold(p)
			first, seen := spelling[key]
			switch {
			case !seen:
				spelling[key], kind[key] = p, isFile
			case first != p:
				return Errorf(CodeInvalid, "paths %q and %q differ by case alone; many file systems can't hold both", first, p)
			case isFile && kind[key]:
				return Errorf(CodeInvalid, "path %q is there twice", p)
			case isFile != kind[key]:
				return Errorf(CodeInvalid, "path %q is a file and a folder", p)
			}
		}
	}
	return nil
}

// fold maps the spellings that a case-insensitive file system takes for one.
func fold(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, s)
}

// CheckPath checks a path inside an artifact: relative, slash-separated, clean, at
// most [MaxPath] bytes of UTF-8 without control characters, and nothing that
// Windows reads otherwise ("\", ":", trailing dots, device names). It returns [CodeInvalid].
func CheckPath(p string) error {
	bad := func(why string) error { return Errorf(CodeInvalid, "path %q inside the artifact %s", clip(p), why) }
	switch {
	case p == "" || !utf8.ValidString(p):
		return bad("is empty or not UTF-8")
	case len(p) > MaxPath:
		return Errorf(CodeInvalid, "path %q inside the artifact has %d bytes, the limit is %d", clip(p), len(p), MaxPath)
	case strings.HasPrefix(p, "/"):
		return bad("is absolute")
	case path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../"):
		return bad("leaves the artifact or is not clean")
	case strings.ContainsAny(p, `\:`):
		return bad(`holds "\" or ":"`)
	}
	for _, r := range p {
		if unicode.IsControl(r) {
			return bad("holds a control character")
		}
	}
	for _, part := range strings.Split(p, "/") {
		if len(part) > maxPathPart {
			return bad("has a part of more than 255 bytes, which many file systems can't hold")
		}
		stem, _, _ := strings.Cut(strings.ToUpper(part), ".")
		if strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") || windowsDevices[strings.TrimSpace(stem)] {
			return bad("has a part that Windows can't hold: " + part)
		}
	}
	return nil
}

// maxPathPart is the longest name of one file or folder, in bytes.
const maxPathPart = 255

var windowsDevices = map[string]bool{
	"CON": true, "PRN": true, "AUX": true, "NUL": true, "CONIN$": true, "CONOUT$": true,
	"COM¹": true, "COM²": true, "COM³": true, "LPT¹": true, "LPT²": true, "LPT³": true,
	"COM1": true, "COM2": true, "COM3": true, "COM4": true, "COM5": true, "COM6": true, "COM7": true, "COM8": true, "COM9": true,
	"LPT1": true, "LPT2": true, "LPT3": true, "LPT4": true, "LPT5": true, "LPT6": true, "LPT7": true, "LPT8": true, "LPT9": true,
}

// marshal is json.Marshal without HTML escaping. It panics on a value that JSON
// can't hold, which our own types never are.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("pedigree: marshal: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
