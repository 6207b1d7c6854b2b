package main

import (
	_ "embed"
)

// exampleYAML is the example configuration. A test proves that it says what the
// defaults are and leaves none out.
//
//go:embed hearthgate.yaml
var exampleYAML string
