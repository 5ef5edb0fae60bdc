package compare

import "time"

// AloneOnHost has comparisons take the host for one that takes no time away.
func AloneOnHost() {
	stolenEach = func() (map[int]time.Duration, error) { return nil, nil }
}
