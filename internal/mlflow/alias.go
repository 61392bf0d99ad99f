package mlflow

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

var (
	aliasPattern = regexp.MustCompile(`^[\pL\pN_\-]*$`)
	versionAlias = regexp.MustCompile(`^[vV]\pN+$`)
)

// maxAlias is the longest alias, in characters.
const maxAlias = pedigree.MaxAlias

// checkAlias checks an alias as MLflow does where one is looked up.
func checkAlias(alias string) error {
	if !aliasPattern.MatchString(alias) {
		return invalid("Invalid alias name: '%s'. Names may only contain alphanumerics, underscores (_), and dashes (-).", clip(alias))
	}
	if utf8.RuneCountInString(alias) > maxAlias {
		return invalid("'Registered model alias name' exceeds the maximum length of %d characters", maxAlias)
	}
	return nil
}

func (d *Dialect) setAlias(c *call) error {
	var in struct {
		Name    string `json:"name" mlflow:"required"`
		Alias   string `json:"alias" mlflow:"required"`
		Version string `json:"version" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return err
	}
	if err := checkAlias(in.Alias); err != nil {
		return err
	}
	switch {
	case strings.EqualFold(in.Alias, "latest"):
		return invalid("'latest' alias name (case insensitive) is reserved.")
	case versionAlias.MatchString(in.Alias):
		return invalid("Version alias name '%s' is reserved.", in.Alias)
	}
	ref, err := c.version(name, in.Version)
	if err != nil {
		return err
	}
	_, err = d.registrar.SetAlias(c.ctx(), c.principal, ref, pedigree.Alias(in.Alias), nil, "")
	return c.answerNothing(ofVersion(ref, err))
}

func (d *Dialect) deleteAlias(c *call) error {
	name, alias, err := c.nameAndAlias()
	if err != nil {
		return err
	}
	err = d.registrar.RemoveAlias(c.ctx(), c.principal, c.project, name, alias, nil, "")
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // an alias that is not set is no error
		_, err = d.registrar.Model(c.ctx(), c.principal, c.project, name, pedigree.At{})
	}
	return c.answerNothing(ofModel(string(name), err))
}

func (c *call) nameAndAlias() (pedigree.Name, pedigree.Alias, error) {
	var in struct {
		Name  string `json:"name" mlflow:"required"`
		Alias string `json:"alias" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return "", "", err
	}
	name, err := checkName(in.Name)
	if err != nil {
		return "", "", err
	}
	return name, pedigree.Alias(in.Alias), checkAlias(in.Alias)
}

func (d *Dialect) getAlias(c *call) error {
	name, alias, err := c.nameAndAlias()
	if err != nil {
		return err
	}
	return c.answerCached("registered-models/alias", string(name), string(alias), func() (any, error) {
		card, err := d.aliasCard(c, name, alias)
		if err != nil {
			return nil, err
		}
		return versionAnswer{wireVersion(&card)}, nil
	})
}

// aliasCard is the version that an alias names; "latest" stands for the newest.
func (d *Dialect) aliasCard(c *call, name pedigree.Name, alias pedigree.Alias) (registrar.Card, error) {
	ref := pedigree.Reference{Project: c.project, Model: name, Alias: alias}
	latest := strings.EqualFold(string(alias), "latest")
	if latest {
		ref.Alias = ""
	}
	card, err := d.registrar.Card(c.ctx(), c.principal, ref)
	if pedigree.CodeOf(err) != pedigree.CodeNotFound {
		return card, err
	}
	if _, err := d.registrar.Model(c.ctx(), c.principal, c.project, name, pedigree.At{}); err != nil {
		return card, ofModel(string(name), err)
	}
	if latest {
		return card, notFound("Latest version not found for model %s.", name)
	}
	return card, invalid("Registered model alias %s not found.", alias)
}
