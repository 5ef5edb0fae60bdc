package gateway

// ParseTarget gives the topics of a URL.
func ParseTarget(rest, query string) (topics []string, err error) {
	t, err := parseTarget(rest, query)
	if err != nil {
		return nil, err
	}
	return t.topics, nil
}

// LookAt is what lookAt finds in a text.
func LookAt(text []byte) (id uint64, wrong string) { return lookAt(text) }

// SetAnswersMemory sets what the answers that are under way may take together.
func (g *Gateway) SetAnswersMemory(most int64) { g.answers.most = most }
