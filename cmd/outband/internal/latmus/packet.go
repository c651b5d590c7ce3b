package latmus

import (
	"encoding/hex"
	"errors"
	"strconv"
)

// A packet is text: '^', 16 hexadecimal digits of a serial number, letters up to
// its length, '$', and two hexadecimal digits of a CRC-8 of all that is before.
const (
	head, tail = '^', '$'
	serialLen  = 16
	crcLen     = 2

	// MinSize and DefaultSize are lengths of a packet in bytes.
	MinSize     = 1 + serialLen + 1 + 1 + crcLen
	DefaultSize = 64
	// MaxSize is the most that a UDP datagram carries.
	MaxSize = 65535 - 20 - 8
)

const hexDigits = "0123456789abcdef"

// putPacket writes a packet of length len(b), which is MinSize at least.
func putPacket(b []byte, serial uint64) {
	b[0] = head
	for i := serialLen; i > 0; i-- {
		b[i] = hexDigits[serial&0xf]
		serial >>= 4
	}
	end := len(b) - 1 - crcLen
	for i := 1 + serialLen; i < end; i++ {
		b[i] = 'A' + byte(i-1-serialLen)%26
	}
	b[end] = tail
	sum := crc8(b[:end+1])
	b[end+1], b[end+2] = hexDigits[sum>>4], hexDigits[sum&0xf]
}

// What may be wrong with a packet.
var (
	errForm = errors.New("not a packet of this test")
	errSum  = errors.New("wrong checksum")
)

// parsePacket returns a packet's serial number.
func parsePacket(b []byte) (serial uint64, err error) {
	end := len(b) - 1 - crcLen
	if len(b) < MinSize || b[0] != head || b[end] != tail {
		return 0, errForm
	}
	var sum [1]byte
	if _, err := hex.Decode(sum[:], b[end+1:]); err != nil {
		return 0, errForm
	}
	if sum[0] != crc8(b[:end+1]) {
		return 0, errSum
	}
	if serial, err = strconv.ParseUint(string(b[1:1+serialLen]), 16, 64); err != nil {
		return 0, errForm
	}
	return serial, nil
}

// crcTable is of the polynomial x^8 + x^2 + x + 1, that of ATM's header error
// control (ITU-T I.432.1, section 4.3.2).
var crcTable = func() (table [256]byte) {
	for i := range table {
		c := byte(i)
		for range 8 {
			high := c&0x80 != 0
			if c <<= 1; high {
				c ^= 0x07
			}
		}
		table[i] = c
	}
	return table
}()

func crc8(b []byte) (c byte) {
	for _, v := range b {
		c = crcTable[c^v]
	}
	return c
}
