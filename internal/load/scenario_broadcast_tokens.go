package load

// tokens are those of a closed loop: as many as messages may be on their way. A publisher
// has one for each of its messages until all have it, and then the next one gets it.
type tokens struct {
	turn int    // of the next publisher
	of   []int  // each publisher has; nil: it is an open loop
	gone []bool // publishers that get no more
}

// publishNext gives the next publisher a new token.
func (p *publication) publishNext() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.publish()
}

// publish is publishNext with mu held.
func (p *publication) publish() {
	t := &p.tokens
	for range t.of {
		number := t.turn % p.publishers
		t.turn++
		if !t.gone[number] {
			t.of[number]++
			p.post(number)
			return
		}
	}
}

// post has a publisher send a message.
func (p *publication) post(publisher int) {
	for _, l := range p.run.loops {
		if slot := publisher - int(l.conns[0].number); slot >= 0 && slot < len(l.conns) {
			l.post(func() {
				b, publishes := l.behaviour.(*publishing)
				if c := &l.conns[slot]; publishes && c.state == open && !p.over.Load() {
					c.wanted++
					b.emptied(l, c)
				}
			})
		}
	}
}

// tokenBack hands on a publisher's token. mu is held.
func (p *publication) tokenBack(publisher uint32) {
	t := &p.tokens
	if int(publisher) >= len(t.of) || t.of[publisher] == 0 {
		return // it was handed on when the publisher went, or there are none
	}
	t.of[publisher]--
	if !p.over.Load() {
		p.publish()
	}
}

// leave hands on all tokens of a publisher that is no more. Some of its last messages may
// be on their way to the others, or not: nobody knows, so nobody waits for them.
func (p *publication) leave(publisher uint32) {
	p.orphaned.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.tokens
	if t.of == nil {
		return
	}
	t.gone[publisher] = true
	for range t.of[publisher] {
		p.tokenBack(publisher)
	}
}
