package registrar

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// sealer encrypts what the database must keep and not know, with a key that is made of
// the operator's secret. Without one it keeps the text as it is: whoever reads such a
// database reads the secrets of its webhooks too.
type sealer struct{ aead cipher.AEAD }

// The forms of a sealed text.
const (
	sealedText = "sealed:" // base64 of nonce and ciphertext
	plainText  = "plain:"
)

func newSealer(secret string) (sealer, error) {
	if secret == "" {
		return sealer{}, nil
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "pedigree: secrets at rest", 32)
	if err != nil {
		return sealer{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCM(block)
	return sealer{aead}, err
}

// seal encrypts text; context (what it belongs to) must be the same when it is opened. ""
// stays "".
func (s sealer) seal(random io.Reader, text, context string) (string, error) {
	switch {
	case text == "":
		return "", nil
	case s.aead == nil:
		return plainText + text, nil
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(random, nonce); err != nil {
		return "", err
	}
	return sealedText + base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, []byte(text), []byte(context))), nil
}

// open decrypts what seal made. It returns [pedigree.CodeRefused] where the configured
// secret is another one.
func (s sealer) open(sealed, context string) (string, error) {
	if text, ok := strings.CutPrefix(sealed, plainText); ok || sealed == "" {
		return text, nil
	}
	refused := pedigree.Errorf(pedigree.CodeRefused, "the secret of %s was kept under another PEDIGREE_SECRET than this server has", context).
		WithFix("configure the same PEDIGREE_SECRET on every server, or make a new one: pedigree webhook rotate %s", context)
	text, ok := strings.CutPrefix(sealed, sealedText)
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || s.aead == nil || len(b) < s.aead.NonceSize() {
		return "", refused
	}
	nonce, ciphertext := b[:s.aead.NonceSize()], b[s.aead.NonceSize():]
	plain, err := s.aead.Open(nil, nonce, ciphertext, []byte(context))
	if err != nil {
		return "", refused
	}
	return string(plain), nil
}
