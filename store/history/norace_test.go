//go:build !race

package history_test

const underRace = false

// mostSteps is how long the story of a model gets.
const mostSteps = 15
