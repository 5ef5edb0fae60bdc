package flags

// Nearest gives the name that a mistyped one is likely meant to be: the first of
// those that the fewest letters tell from it, if those are at most two or a quarter
// of it, and less than half. "": none is near.
func Nearest(mistyped string, names []string) string {
	best, least := "", min(max(2, len(mistyped)/4), (len(mistyped)-1)/2)+1
	for _, name := range names {
		if n := distance(mistyped, name); n < least {
			best, least = name, n
		}
	}
	return best
}

// distance is how many letters to add, drop, change or swap with their neighbour
// lead from a to b (the optimal string alignment distance).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			changed := last[j-1]
			if a[i-1] != b[j-1] {
				changed++
			}
			row[j] = min(changed, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
