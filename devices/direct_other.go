//go:build !unix

package devices

import "errors"

const canDirect = false

func writeNow(uintptr, []byte) int { return 0 }

func readNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
