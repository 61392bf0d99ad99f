package pedigree

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Receivers says where webhooks may go. The zero value allows https to public addresses
// and nothing else; what an operator allows beyond that is named host by host or network
// by network.
type Receivers struct {
	hosts    []string // lower case; one that begins with "*." stands for all below it
	networks []netip.Prefix
}

// ParseReceivers reads a list, separated by commas, of networks ("10.1.0.0/16"),
// addresses, host names ("ci.internal") and domains ("*.internal"). It returns
// [CodeInvalid].
func ParseReceivers(list string) (Receivers, error) {
	var out Receivers
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if network, err := netip.ParsePrefix(item); err == nil {
			out.networks = append(out.networks, network.Masked())
			continue
		}
		if addr, err := netip.ParseAddr(strings.Trim(item, "[]")); err == nil {
			addr = addr.Unmap()
			out.networks = append(out.networks, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(item, "."))
		if bare := strings.TrimPrefix(name, "*."); bare == "" || strings.ContainsAny(bare, "*/:@?#[]") {
			return Receivers{}, Errorf(CodeInvalid, "%q is neither a network nor a host", clip(item)).
				WithFix("write 10.1.0.0/16, 127.0.0.1, ci.internal or *.internal")
		}
		out.hosts = append(out.hosts, name)
	}
	return out, nil
}

// special are the networks that no public receiver is in: private and link-local ones,
// those where clouds answer questions about a machine, and those by which an address of
// IPv4 hides in one of IPv6.
var special = func() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32", // Azure's metadata and DNS
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
		"fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

func public(addr netip.Addr) bool {
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (r Receivers) allowsHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(r.hosts, func(allowed string) bool {
		if domain, ok := strings.CutPrefix(allowed, "*"); ok {
			return strings.HasSuffix(host, domain) && len(host) > len(domain)
		}
		return host == allowed
	})
}

func (r Receivers) allowsAddr(addr netip.Addr) bool {
	return slices.ContainsFunc(r.networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// allowFix is what an operator can do about a receiver that is refused.
const allowFix = "the operator of the server can allow it: pedigree serve --webhook-allow %s"

// CheckURL says whether a webhook may name this URL, without asking any name server: what
// the name stands for is checked at every delivery, by [Receivers.CheckAddr]. It returns
// [CodeInvalid] for what is no URL of a receiver, and [CodeRefused] for one that the
// operator does not allow.
func (r Receivers) CheckURL(text string) (*url.URL, error) {
	if err := checkText("URL", text, MaxURI); err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" {
		return nil, Errorf(CodeInvalid, "%q is not the URL of a receiver", clip(text)).WithFix("write https://HOST/PATH")
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, Errorf(CodeInvalid, "webhooks are sent by https, not by %q", clip(u.Scheme)).WithFix("write https://HOST/PATH")
	}
	if u.Fragment != "" {
		return nil, Errorf(CodeInvalid, "the URL has a fragment, which is never sent").WithFix("leave out what follows the #")
	}
	if safe, err := ParseSafeURI(text); err != nil || u.User != nil || string(safe) != text {
		return nil, Errorf(CodeInvalid, "the URL holds what looks like a credential, and the log would keep it for ever").
			WithFix("leave it out: each delivery is signed with the webhook's secret, by which the receiver knows it")
	}
	host := u.Hostname()
	if r.allowsHost(host) {
		return u, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap().WithZone("")
		if err := r.CheckAddr(u, addr); err != nil {
			return nil, err
		}
		return u, nil
	}
	switch {
	case host == "localhost" || strings.HasSuffix(host, ".localhost"):
		if len(r.networks) == 0 {
			return nil, Errorf(CodeRefused, "webhooks don't go to this machine: %s", clip(host)).WithFix(allowFix, host)
		}
	case u.Scheme == "http" && len(r.networks) == 0:
		return nil, Errorf(CodeRefused, "webhooks are sent by https; %s would be read on the way", clip(text)).WithFix(allowFix, host)
	}
	return u, nil
}

// CheckAddr says whether a delivery for u may go to the address that its host turned out
// to be: the name may have come to stand for another since the webhook was made. It
// returns [CodeRefused].
func (r Receivers) CheckAddr(u *url.URL, addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if r.allowsHost(u.Hostname()) || r.allowsAddr(addr) {
		return nil
	}
	if !public(addr) {
		which := clip(u.Hostname()) + " is one"
		if u.Hostname() != addr.String() {
			which += ": " + addr.String()
		}
		return Errorf(CodeRefused, "webhooks don't go to private addresses, and %s", which).WithFix(allowFix, addr)
	}
	if u.Scheme != "https" {
		return Errorf(CodeRefused, "webhooks are sent by https; %s would be read on the way", clip(u.Hostname())).WithFix(allowFix, u.Hostname())
	}
	return nil
}
