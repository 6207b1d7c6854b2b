package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hearthgate/hearthgate/protocol"
)

// credential is a device's token and the id that is in it.
type credential struct{ id, token string }

// credentialOf reads hg1.<device-id>.<secret>.
func credentialOf(token string) (credential, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] != "hg1" || !protocol.ValidDeviceID(parts[1]) || len(parts[2]) != 43 {
		return credential{}, errors.New("a token looks like hg1.<device-id>.<43 characters>")
	}
	return credential{id: parts[1], token: token}, nil
}

// parseTokens reads a fleet's tokens: a JSON array of objects with "token" (or
// of texts), the same as JSON lines, or one token a line. Empty lines and lines
// with # are nothing.
func parseTokens(r io.Reader) ([]credential, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var tokens []string
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && (trimmed[0] == '[' || trimmed[0] == '{') {
		tokens, err = jsonTokens(trimmed)
	} else {
		tokens = lineTokens(string(trimmed))
	}
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, errors.New("no token in it")
	}
	all := make([]credential, len(tokens))
	seen := map[string]bool{}
	for i, t := range tokens {
		if all[i], err = credentialOf(t); err != nil {
			return nil, fmt.Errorf("token %d: %w", i+1, err)
		}
		if seen[all[i].id] {
			return nil, fmt.Errorf("token %d: device %s is there twice", i+1, all[i].id)
		}
		seen[all[i].id] = true
	}
	return all, nil
}

func jsonTokens(text []byte) (tokens []string, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		var v any
		if err := dec.Decode(&v); err == io.EOF {
			return tokens, nil
		} else if err != nil {
			return nil, fmt.Errorf("JSON: %w", err)
		}
		tokens = collect(tokens, v)
	}
}

// collect finds the tokens in v, however they are wrapped.
func collect(tokens []string, v any) []string {
	switch v := v.(type) {
	case string:
		return append(tokens, v)
	case []any:
		for _, e := range v {
			tokens = collect(tokens, e)
		}
	case map[string]any:
		if t, ok := v["token"].(string); ok {
			return append(tokens, t)
		}
		for _, key := range []string{"devices", "tokens"} {
			if list, ok := v[key]; ok {
				tokens = collect(tokens, list)
			}
		}
	}
	return tokens
}

func lineTokens(text string) (tokens []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line) // "id token" is as good as "token"
		tokens = append(tokens, fields[len(fields)-1])
	}
	return tokens
}
