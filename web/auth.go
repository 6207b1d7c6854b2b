package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/hearthgate/hearthgate/registry"
)

type roleKey struct{}

func withRole(r *http.Request, role registry.Role) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), roleKey{}, role))
}

// rank orders the roles; each includes the ones before.
func rank(r registry.Role) int {
	return slices.Index([]registry.Role{registry.Read, registry.Control, registry.Admin}, r)
}

// authenticated lets through who shows a token of the API, and everybody to the
// two pages that need none.
func (a *API) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" || r.URL.Path == "/" {
			next.ServeHTTP(w, r)
			return
		}
		secret, ok := bearer(r)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="hearthgate"`)
			writeProblem(w, problem(http.StatusUnauthorized, "a bearer token is needed: hearthgate token add NAME"))
			return
		}
		token, err := a.Registry.AuthenticateAPI(secret)
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="hearthgate", error="invalid_token"`)
			writeProblem(w, problem(http.StatusUnauthorized, "this token is not known"))
			return
		}
		next.ServeHTTP(w, withRole(r, token.Role))
	})
}

func bearer(r *http.Request) (string, bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), ok && strings.EqualFold(scheme, "Bearer")
}

// sameSite refuses requests that a page from elsewhere makes a browser send:
// for a host name that is not ours (DNS rebinding) or with a foreign Origin. A page
// that may call is told so, or its browser would not show it the answer.
func (a *API) sameSite(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOnly(r.Host)
		if !a.ourHost(host) {
			writeProblem(w, problem(http.StatusForbidden, "host: %q is not a name of this gateway (listen.origins can allow it)", host))
			return
		}
		if o := r.Header.Get("Origin"); o != "" {
			if !a.ourOrigin(o, host) {
				writeProblem(w, problem(http.StatusForbidden, "origin: %q may not call this gateway (listen.origins can allow it)", o))
				return
			}
			w.Header().Set("Access-Control-Allow-Origin", o)
			w.Header().Add("Vary", "Origin")
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				preflight(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// preflight answers a browser that asks whether a page may send its token. It asks
// without it.
func preflight(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// ourHost: an address says nothing about who chose the name, so any will do.
func (a *API) ourHost(host string) bool {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return a.ourName(host) || slices.ContainsFunc(a.Origins, func(o string) bool {
		u, err := url.Parse(o)
		return err == nil && u.Hostname() == host
	})
}

func (a *API) ourName(host string) bool {
	return host == "localhost" || a.Names != nil && slices.Contains(a.Names(), host)
}

// ourOrigin: a page of this gateway, at any port of the host that was asked or of a
// name or address of ours, or one that the operator listed. Unlike a host's, an
// address of a page says that somebody else's machine may have made it.
func (a *API) ourOrigin(origin, host string) bool {
	if slices.Contains(a.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && (u.Hostname() == strings.Trim(host, "[]") || a.ourName(u.Hostname()))
}

func hostOnly(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
