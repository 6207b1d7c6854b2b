package main

import (
	"fmt"
	"sync"
)

// dialers is how many connections are being made at any moment: enough to keep
// a server busy, below the smallest listen backlog (mosquitto's 100).
const dialers = 64

// connectAll makes n connections, in any order: all, or none and the error.
func connectAll[C interface{ Close() }](n int, connect func(i int) (C, error)) ([]C, error) {
	var (
		mu     sync.Mutex
		next   int
		made   []C
		failed error
		wg     sync.WaitGroup
	)
	take := func() (i int, more bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && failed == nil
	}
	for range dialers {
		wg.Go(func() {
			for i, more := take(); more; i, more = take() {
				c, err := connect(i)
				mu.Lock()
				if err == nil {
					made = append(made, c)
				} else if failed == nil {
					failed = fmt.Errorf("connection %d of %d: %w", i+1, n, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil {
		closeAll(made)
		return nil, failed
	}
	return made, nil
}

func closeAll[C interface{ Close() }](all []C) {
	for _, c := range all {
		c.Close()
	}
}
