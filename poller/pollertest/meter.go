package pollertest

import "github.com/millrace/millrace/poller"

// meterTests are for the engines that are a [poller.Meter].
var meterTests = []test{
	{"RTTOfAConnection", rttOfAConnection},
}

func (b *bed) meter() poller.Meter {
	b.Helper()
	m, ok := b.engine.(poller.Meter)
	if !ok {
		b.Skip("the engine is no Meter")
	}
	return m
}

func rttOfAConnection(b *bed) {
	m, c := b.meter(), b.added(7)
	b.send(c.peer, "abcdef")
	b.readFull(c.fd, 7, 6)
	if rtt, err := m.RTT(c.fd); rtt <= 0 || err != nil {
		b.Errorf("RTT = %v, %v, want more than nothing", rtt, err)
	}
	b.closeFD(c.fd)
	if rtt, err := m.RTT(-1); err == nil {
		b.Errorf("RTT of no descriptor = %v", rtt)
	}
}
