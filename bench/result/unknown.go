package result

import "math"

// What is not known is NaN, or 0 bytes, in Go, and null in JSON.

// Unknown is the figure that is not known: NaN.
func Unknown() float64 { return math.NaN() }

// Known tells whether a figure is known.
func Known(figure float64) bool { return !math.IsNaN(figure) && !math.IsInf(figure, 0) }

func figureOrNull(figure float64) *float64 {
	if !Known(figure) {
		return nil
	}
	return &figure
}

func orNaN(figure *float64) float64 {
	if figure == nil {
		return Unknown()
	}
	return *figure
}

func bytesOrNull(n int64) *int64 {
	if n <= 0 {
		return nil
	}
	return &n
}

func orNone(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
