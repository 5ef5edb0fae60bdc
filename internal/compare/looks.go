package compare

// Repeating until a verdict stands looks at the ratios again and again, and each look is a
// chance for it to be wrong. So it looks only now and then, and shares what may go wrong
// among the looks: all of them together have 95 % confidence.

// looks are after how many repetitions a comparison may end because its verdicts stand:
// after the first, or as many as a look takes then, and after half as many more each time.
func looks(first int) []int {
	first = max(first, leastConfident)
	for first < mostRepetitions && leastFor(ofEachLook(from(first))) > first {
		first++
	}
	return from(first)
}

// from is a schedule that begins with so many repetitions and ends with the most.
func from(first int) []int {
	var all []int
	for n := first; n < mostRepetitions; n += n / 2 {
		all = append(all, n)
	}
	return append(all, mostRepetitions)
}

// ofEachLook is the confidence that each of them has. The end of the time that there is
// counts as the look that would have come next, so it needs no share.
func ofEachLook(all []int) float64 {
	return 1 - (1-confidence)/float64(len(all))
}
