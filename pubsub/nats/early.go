package nats

// # Topics without a stream that the server does not know yet
//
// When somebody subscribes to a topic or a filter, and behind a lost connection, the server does not know yet that its messages
// are wanted, and brings none. What this node publishes itself its members get all the same. So others' messages may be
// missing between that and the first that comes. Who publishes waits for the server, for a while. If that is in vain the wants
// that the message relies on are early, and it is told of them before anything else comes: by whoever takes the next message, or
// when the server knows them. What the server knows already of several wants that meet a topic is enough: then its messages come.

// subscribed notes that the server is subscribed to a batch.
func (i *interests) subscribed(session uint64, batch []*want) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if session != i.session {
		return
	}
	for _, w := range batch {
		w.known = true
	}
}

// meeting calls do with the wants that meet a topic, its own first, until that says true. The caller holds mu.
func (i *interests) meeting(topic string, do func(*want) bool) bool {
	if w := i.wants[topic]; w != nil && do(w) {
		return true
	}
	for _, w := range i.metBy(topic) {
		if do(w) {
			return true
		}
	}
	return false
}

// comes says whether the server knows a want that meets a topic, or there is none. The caller holds mu.
func (i *interests) comes(topic string) bool {
	wanted := false
	return i.meeting(topic, func(w *want) bool { wanted = true; return w.known }) || !wanted
}

// ready says whether nobody has to wait until the server knows of a topic, whatever of others.
func (i *interests) ready(topic string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	w := i.wants[topic]
	return (w == nil || w.isReady) && i.comes(topic)
}

// rely notes that members get a message of a topic, though the server may not know yet that it is wanted. false: it does not, nobody
// has waited for it in vain yet, and nothing is noted, unless the message does not wait anyway.
func (i *interests) rely(topic string, anyway bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.comes(topic):
		return true
	case !anyway && !i.meeting(topic, func(w *want) bool { return w.vain }):
		return false
	}
	i.meeting(topic, func(w *want) bool { w.early = true; return false })
	return true
}

// owed gives the names of which it is to be told that something may be missing, before a message of a topic is received.
func (i *interests) owed(topic string) (names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.meeting(topic, func(w *want) bool {
		if w.early || w.telling {
			w.early, w.telling = false, false
			names = append(names, w.name)
		}
		return false
	})
	return names
}

// awaitKnown waits until the server knows a want that meets a topic which no stream has, unless somebody has waited for it in vain already.
func (b *Broker) awaitKnown(s *session, topic string) {
	i := &b.interests
	var waits *want
	i.mu.Lock()
	if !i.comes(topic) {
		i.meeting(topic, func(w *want) bool {
			if w.name == topic || b.stream == nil || !b.stream.meets(w.name) { // else it waits for the stream as well
				waits = w
			}
			return waits != nil
		})
	}
	vain := waits != nil && waits.vain
	i.mu.Unlock()
	if waits != nil && !vain {
		b.settle(s, waits)
	}
}
