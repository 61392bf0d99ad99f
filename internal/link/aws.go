package link

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/pedigree-ml/pedigree"
)

// keyWait is how long the service that gives out keys may take.
const keyWait = 10 * time.Second

// endpoint is where S3 is, as the tools of AWS are told.
func (r *reader) endpoint() (*url.URL, error) {
	for _, name := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
		s := r.Env(name)
		if s == "" {
			continue
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
			return nil, r.fail(pedigree.CodeInvalid, "%s is not the address of a store", name).WithFix("write https://host or http://host:port")
		}
		return u, nil
	}
	return &url.URL{Scheme: "https", Host: "s3.amazonaws.com"}, nil
}

// awsKeys looks for keys as the tools of AWS do: in the environment, in the shared
// files, then, where the environment says that there is one, from the service that
// gives them to a container. Where none are found requests are not signed, which is
// right for a public bucket. help is what to say when the store refuses.
func (r *reader) awsKeys(ctx context.Context) (keys *credentials.Credentials, help string) {
	if id, secret := r.Env("AWS_ACCESS_KEY_ID"), r.Env("AWS_SECRET_ACCESS_KEY"); id != "" && secret != "" {
		return credentials.NewStaticV4(id, secret, r.Env("AWS_SESSION_TOKEN")), "the keys of AWS_ACCESS_KEY_ID must be allowed to read it"
	}
	ctx, cancel := context.WithTimeout(ctx, keyWait)
	defer cancel()
	web := &credentials.CredContext{Client: &http.Client{Transport: r.transport()}, Context: ctx}
	problem := ""
	for _, p := range r.keyProviders() {
		keys := credentials.New(p)
		v, err := keys.GetWithContext(web)
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			return keys, "the keys of this machine's AWS configuration must be allowed to read it"
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL, which may hold a token
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && problem == "" {
			problem = " (" + clip(err.Error(), maxMessage) + ")"
		}
	}
	return credentials.NewStatic("", "", "", credentials.SignatureAnonymous),
		"no keys were found" + problem + ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
}

// keyProviders are the places for keys other than the environment itself.
func (r *reader) keyProviders() []credentials.Provider {
	profile := first(r.Env, "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
	if profile == "" {
		profile = "default"
	}
	var providers []credentials.Provider
	home := first(r.Env, "HOME", "USERPROFILE")
	for _, file := range []struct{ variable, name string }{{"AWS_SHARED_CREDENTIALS_FILE", "credentials"}, {"AWS_CONFIG_FILE", "config"}} {
		name := r.Env(file.variable)
		if name == "" && home != "" {
			name = filepath.Join(home, ".aws", file.name)
		}
		if name != "" {
			providers = append(providers, &credentials.FileAWSCredentials{Filename: name, Profile: profile})
		}
	}
	if first(r.Env, "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI") == "" {
		return providers // no guess at a metadata service: where there is none, that hangs
	}
	iam := &credentials.IAM{Region: first(r.Env, "AWS_REGION", "AWS_DEFAULT_REGION")}
	if file := r.Env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		iam.Container.AuthorizationToken = file // so the library: it reads the file of this name
	} else if token := r.Env("AWS_CONTAINER_AUTHORIZATION_TOKEN"); token != "" {
		iam.Client = &http.Client{Transport: &headerTransport{r.transport(), "Authorization", token}}
	}
	iam.Container.CredentialsRelativeURI = r.Env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	iam.Container.CredentialsFullURI = r.Env("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	iam.EKSIdentity.TokenFile = r.Env("AWS_WEB_IDENTITY_TOKEN_FILE")
	iam.EKSIdentity.RoleARN = r.Env("AWS_ROLE_ARN")
	iam.EKSIdentity.RoleSessionName = r.Env("AWS_ROLE_SESSION_NAME")
	return append(providers, iam)
}

// first returns the first variable that is set.
func first(env func(string) string, names ...string) string {
	for _, name := range names {
		if v := env(name); v != "" {
			return v
		}
	}
	return ""
}
