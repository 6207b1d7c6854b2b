package pki

import (
	"net"
	"os"
	"slices"
	"strings"
)

// maxHosts keeps a certificate small enough for a device's buffer on machines
// that grow an interface per container.
const maxHosts = 64

// Hosts returns the names and addresses under which clients reach this machine:
// localhost, the host name with and without its domain and as a .local name, and
// every address of every interface.
func Hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, namesOf(name)...)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		addrs = nil // rarely allowed to fail (sandboxes); the names still help
	}
	return union(hosts, addrs)
}

// namesOf gives the forms of a host name that can stand in a certificate.
func namesOf(name string) []string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !isDNSName(name) {
		return nil
	}
	short, _, _ := strings.Cut(name, ".")
	return []string{name, short, short + ".local"}
}

// isDNSName accepts what RFC 1123 §2.1 calls a host name, and the underscore
// that some machines have all the same.
func isDNSName(name string) bool {
	ok := func(r rune) bool {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'
	}
	return name != "" && len(name) <= 253 && !strings.Contains(name, "..") &&
		strings.IndexFunc(name, func(r rune) bool { return !ok(r) }) < 0
}

// union adds the usable addresses to hosts, each once, in order. Link-local IPv6
// addresses are left out: a client cannot use one without naming its interface,
// and a certificate cannot say that.
func union(hosts []string, addrs []net.Addr) []string {
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !(n.IP.To4() == nil && n.IP.IsLinkLocalUnicast()) {
			hosts = append(hosts, n.IP.String())
		}
	}
	seen := map[string]bool{}
	hosts = slices.DeleteFunc(hosts, func(h string) bool {
		again := seen[h]
		seen[h] = true
		return again
	})
	return hosts[:min(len(hosts), maxHosts)]
}
