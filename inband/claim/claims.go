package claim

import (
	"errors"
	"fmt"
	"sync"

	"github.com/outband/outband/internal/ebpf"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/namespace"
)

// Options say how claims are to be made.
type Options struct {
	// Require is the lowest rung that will do: less is an error. Any: whatever can be had.
	Require Rung
	// Force is the only rung that is tried, with no other to fall to. Any: the best.
	Force Rung
	// Classic gives rings a filter of classic BPF, as where eBPF is not permitted.
	Classic bool
}

// Claims are the claims of one process in one network namespace. Its methods may be
// called by several goroutines at once. Its errors wrap unix errnos.
type Claims struct {
	options Options
	space   *namespace.Namespace

	mu      sync.Mutex // guards what follows
	closed  bool
	why     error                // why it is not TCX
	maps    *maps                // nil: eBPF is not to be had
	filter  *ebpf.Program        // the rings'; nil: classic
	tcx     *ebpf.Program        // nil: not to be had
	nft     *nftTable            // nil: not needed yet, or not to be had
	nftLost error                // why it is not to be had any more
	sockets map[int]uint64       // with a classic filter: their inodes, by descriptor
	classic []bpf.RawInstruction // that filter; nil: not all have it
	table   table
	widths  [widths]int
	devices map[int]*device
}

// Open makes the means to claim in the calling thread's network namespace: see
// [Options]. With neither Require nor Force it fails only if it cannot look at the namespace.
func Open(o Options) (*Claims, error) {
	space, err := namespace.Current()
	if err != nil {
		return nil, err
	}
	c := &Claims{options: o, space: space, table: newTable(), devices: map[int]*device{}, sockets: map[int]uint64{}}
	if c.why = c.load(); c.tcx == nil && c.allowed(NFT) {
		c.why = errors.Join(c.why, c.openNFTLocked())
	}
	if !c.allowed(c.rungLocked()) {
		c.Close()
		return nil, fmt.Errorf("claims by %s are required: %w", max(o.Require, o.Force), c.why)
	}
	return c, nil
}

// load loads the programs, as far as that is permitted, and returns why it is not.
func (c *Claims) load() (err error) {
	if c.maps, err = newMaps(); err != nil {
		return fmt.Errorf("tcx: %w", needs("CAP_BPF and CAP_NET_ADMIN of the initial user namespace", err))
	}
	if !c.options.Classic {
		if c.filter, err = newRingFilter(c.maps); err != nil {
			return fmt.Errorf("tcx: %w", needs("CAP_BPF", err))
		}
	}
	if !c.allowed(TCX) {
		return fmt.Errorf("tcx: only %s is to be tried: %w", c.options.Force, unix.EOPNOTSUPP)
	}
	if c.tcx, err = newTCX(c.maps); err != nil {
		return fmt.Errorf("tcx: %w", needs("CAP_NET_ADMIN", err))
	}
	return nil
}

// needs names the capabilities that are missing, if that is what err means: what else may be
// the cause on older kernels, as err says, has not been since before TCX.
func needs(capabilities string, err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	return fmt.Errorf("needs %s: %w", capabilities, unix.EPERM)
}

// Rung returns the best rung there is: what a device gets that does not refuse it.
func (c *Claims) Rung() Rung {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rungLocked()
}

func (c *Claims) rungLocked() Rung {
	switch {
	case c.tcx != nil:
		return TCX
	case c.nft != nil:
		return NFT
	}
	return Holder
}

// Why returns why Rung is not TCX, nil if it is.
func (c *Claims) Why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// Close gives everything up: the kernel processes all datagrams again. Filters stay on
// the sockets that have them, and take what was claimed last.
func (c *Claims) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	for index := range c.devices {
		c.detachLocked(index)
	}
	for _, p := range []*ebpf.Program{c.tcx, c.filter} {
		if p != nil {
			p.Close()
		}
	}
	if c.nft != nil {
		c.nft.close()
	}
	if c.maps != nil {
		c.maps.close()
	}
	c.space.Close()
}

// errClosed is the error of calls after Close.
var errClosed = fmt.Errorf("claims are closed: %w", unix.EBADF)

// An Entry is a claim that holds until it is closed.
type Entry struct {
	of    *Claims
	claim Claim // of.mu
	open  bool  // of.mu
}

// Add makes a claim, for the ring before it returns. Several equal claims are one: it
// goes with the last of them. EINVAL: no socket can have such a claim. ENOBUFS: too many.
func (c *Claims) Add(claim Claim) (*Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.changeLocked(&claim, nil); err != nil {
		return nil, err
	}
	return &Entry{of: c, claim: claim, open: true}, nil
}

// Replace makes another claim of an entry, as when its socket is connected, without a
// time at which neither holds. If it fails the old one stays.
func (e *Entry) Replace(claim Claim) error {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	if !e.open {
		return errClosed
	}
	if err := e.of.changeLocked(&claim, &e.claim); err != nil {
		return err
	}
	e.claim = claim
	return nil
}

// Claim returns what the entry claims.
func (e *Entry) Claim() Claim {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	return e.claim
}

// Close gives the claim up. The holder is to be closed after it.
func (e *Entry) Close() {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	if e.open {
		e.open = false
		e.of.changeLocked(nil, &e.claim)
	}
}

// changeLocked adds a claim, and then takes one away; each may be nil. The ring's filter
// is first to get one and last to lose it: what the kernel is kept off a ring takes.
func (c *Claims) changeLocked(add, remove *Claim) error {
	if c.closed {
		return errClosed
	}
	if add != nil {
		if err := c.addLocked(*add); err != nil {
			return err
		}
	}
	if remove == nil {
		return nil
	}
	if c.maps != nil {
		c.maps.widths[generation]++
	}
	keys := c.countLocked(*remove, -1)
	c.syncNFTLocked(keys...) // what fails there is not claimed there any more
	return c.syncFilterLocked(keys...)
}

// countLocked counts a claim, and returns those of which the programs are to be told: it,
// and all at its port if that has become shared, or is not any more.
func (c *Claims) countLocked(claim Claim, by int) []Claim {
	was := c.table.shared(claim.Port)
	c.table.count(claim, by)
	keys := []Claim{claim.key()}
	if c.table.shared(claim.Port) != was && c.table.others(keys[0]) {
		keys = append(keys, c.table.at(claim.Port)...)
	}
	return keys
}

// addLocked counts a claim, and has it hold.
func (c *Claims) addLocked(add Claim) error {
	if err := add.valid(); err != nil {
		return err
	}
	key := add.key()
	if c.table.claims[key] == 0 && len(c.table.claims) >= maxClaims {
		return fmt.Errorf("too many claims: %w", unix.ENOBUFS)
	}
	was := c.table.shared(add.Port)
	keys := c.countLocked(add, 1)
	var err error
	if !was && c.table.shared(add.Port) && len(keys) > 1 {
		// What is the kernel's from now on, it has before the rings leave it.
		err = c.syncNFTLocked(keys...)
	}
	if err == nil {
		err = c.syncFilterLocked(keys...)
	}
	if err == nil {
		err = c.syncNFTLocked(keys...)
	}
	if err != nil {
		keys = c.countLocked(add, -1)
		c.syncFilterLocked(keys...)
		c.syncNFTLocked(keys...)
	}
	return err
}

// syncFilterLocked makes the rings' filter say of claims what the table says.
func (c *Claims) syncFilterLocked(keys ...Claim) error {
	if c.maps != nil {
		for _, key := range keys {
			if err := c.maps.sync(&c.table, key); err != nil {
				return err
			}
		}
	}
	return c.classifyLocked()
}
