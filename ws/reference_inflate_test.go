package ws_test

import "errors"

// puff is RFC 1951 a bit at a time, sharing no code with any codec: slow, and
// simple enough to be believed.
type puff struct {
	in      []byte
	at      int // the next bit
	out     []byte
	history int // bytes of out that were there before
	stream  int // where in out the current DEFLATE stream begins
	limit   int // bytes that out may get
	longest int // the largest distance
}

var (
	errPuffEnd     = errors.New("out of input")
	errPuffCorrupt = errors.New("corrupt")
	errPuffLimit   = errors.New("over the limit")
)

// puffMessage is what the payload of a compressed message stands for (RFC 7692
// section 7.2.2), and the largest distance in it.
func puffMessage(payload, history string, limit int) (message string, longest int, err error) {
	if len(payload) == 0 {
		return "", 0, nil
	}
	p := puff{in: []byte(payload + "\x00\x00\xff\xff"), out: []byte(history), history: len(history), limit: limit}
	for {
		final, err := p.block()
		end := len(p.in)
		switch {
		case err != nil:
			return "", 0, err
		case final:
			p.at = (p.at + 7) / 8 * 8
			p.stream = len(p.out)
			end = len(payload)
		}
		if p.at == 8*len(p.in) || p.at == 8*end {
			return string(p.out[p.history:]), p.longest, nil
		}
	}
}

func (p *puff) bits(n int) (v int, err error) {
	for i := range n {
		if p.at >= 8*len(p.in) {
			return 0, errPuffEnd
		}
		v |= int(p.in[p.at/8]>>(p.at%8)&1) << i
		p.at++
	}
	return v, nil
}

func (p *puff) put(c byte) error {
	if len(p.out)-p.history == p.limit {
		return errPuffLimit
	}
	p.out = append(p.out, c)
	return nil
}

func (p *puff) block() (final bool, err error) {
	head, err := p.bits(3)
	if err != nil {
		return false, err
	}
	switch head >> 1 {
	case 0:
		err = p.stored()
	case 1:
		lengths := make([]int, 288)
		for i := range lengths {
			switch {
			case i < 144 || i >= 280:
				lengths[i] = 8
			case i < 256:
				lengths[i] = 9
			default:
				lengths[i] = 7
			}
		}
		distances := make([]int, 30)
		for i := range distances {
			distances[i] = 5
		}
		err = p.codes(huffman(lengths), huffman(distances))
	case 2:
		err = p.dynamic()
	default:
		err = errPuffCorrupt
	}
	return head&1 == 1, err
}

func (p *puff) stored() error {
	p.at = (p.at + 7) / 8 * 8
	n, err := p.bits(16)
	if err != nil {
		return err
	}
	not, err := p.bits(16)
	if err != nil {
		return err
	}
	if n != ^not&0xffff {
		return errPuffCorrupt
	}
	for range n {
		c, err := p.bits(8)
		if err == nil {
			err = p.put(byte(c))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// code is a Huffman code: how many codes there are of each length, and the
// symbols in their order.
type code struct {
	count   [16]int
	symbols []int
	left    int // codes not used; below 0: too many
}

func huffman(lengths []int) *code {
	h := &code{left: 1}
	for _, n := range lengths {
		h.count[n]++
	}
	for n := 1; n < 16; n++ {
		h.left = h.left*2 - h.count[n]
		for symbol, length := range lengths {
			if length == n {
				h.symbols = append(h.symbols, symbol)
			}
		}
		if h.left < 0 {
			return h
		}
	}
	return h
}

// usable is what the codecs take besides a complete code: none at all, and one
// symbol of one bit.
func (h *code) usable() bool {
	return h.left == 0 || len(h.symbols) == 0 || len(h.symbols) == 1 && h.count[1] == 1
}

func (p *puff) symbol(h *code) (int, error) {
	code, first, index := 0, 0, 0
	for n := 1; n < 16; n++ {
		bit, err := p.bits(1)
		if err != nil {
			return 0, err
		}
		code |= bit
		if code-first < h.count[n] {
			return h.symbols[index+code-first], nil
		}
		index += h.count[n]
		first = (first + h.count[n]) << 1
		code <<= 1
	}
	return 0, errPuffCorrupt
}

func (p *puff) dynamic() error {
	var n [3]int
	for i, size := range []int{5, 5, 4} {
		v, err := p.bits(size)
		if err != nil {
			return err
		}
		n[i] = v
	}
	literals, distances := n[0]+257, n[1]+1
	if literals > 286 || distances > 30 {
		return errPuffCorrupt
	}
	lengths := make([]int, 19)
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:n[2]+4] {
		v, err := p.bits(3)
		if err != nil {
			return err
		}
		lengths[i] = v
	}
	all, err := p.lengths(huffman(lengths), literals+distances)
	if err != nil {
		return err
	}
	literal, distance := huffman(all[:literals]), huffman(all[literals:])
	if !literal.usable() || !distance.usable() {
		return errPuffCorrupt
	}
	return p.codes(literal, distance)
}

func (p *puff) lengths(h *code, n int) (all []int, err error) {
	if !h.usable() {
		return nil, errPuffCorrupt
	}
	for len(all) < n {
		symbol, err := p.symbol(h)
		if err != nil {
			return nil, err
		}
		value, times := symbol, 1
		if symbol >= 16 {
			extra := [][3]int{{3, 2, 0}, {3, 3, 0}, {11, 7, 0}}[symbol-16]
			more, err := p.bits(extra[1])
			if err != nil {
				return nil, err
			}
			value, times = 0, extra[0]+more
			if symbol == 16 && len(all) == 0 || len(all)+times > n {
				return nil, errPuffCorrupt
			}
			if symbol == 16 {
				value = all[len(all)-1]
			}
		}
		for range times {
			all = append(all, value)
		}
	}
	return all, nil
}

var (
	puffLength       = []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	puffLengthBits   = []int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	puffDistance     = []int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	puffDistanceBits = []int{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

func (p *puff) codes(literal, distance *code) error {
	for {
		symbol, err := p.symbol(literal)
		switch {
		case err != nil:
			return err
		case symbol == 256:
			return nil
		case symbol < 256:
			err = p.put(byte(symbol))
		case symbol-257 >= len(puffLength):
			err = errPuffCorrupt
		default:
			err = p.copy(symbol-257, distance)
		}
		if err != nil {
			return err
		}
	}
}

func (p *puff) copy(symbol int, distance *code) error {
	more, err := p.bits(puffLengthBits[symbol])
	if err != nil {
		return err
	}
	length := puffLength[symbol] + more
	if symbol, err = p.symbol(distance); err != nil {
		return err
	}
	if symbol >= len(puffDistance) {
		return errPuffCorrupt
	}
	if more, err = p.bits(puffDistanceBits[symbol]); err != nil {
		return err
	}
	back := puffDistance[symbol] + more
	if back > len(p.out)-p.stream {
		return errPuffCorrupt
	}
	p.longest = max(p.longest, back)
	for range length {
		if err := p.put(p.out[len(p.out)-back]); err != nil {
			return err
		}
	}
	return nil
}
