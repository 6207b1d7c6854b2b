//go:build race

package history_test

// underRace makes the long tests shorter: they are run without it, too.
const underRace = true

// mostSteps is how long the story of a model gets.
const mostSteps = 7
