package claim

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The ladder: TCX where it is permitted and the device does not refuse it; else an
// nf_tables chain; else nothing, and the kernel processes what the holder's filter drops.

// allowed reports whether a rung may be tried.
func (c *Claims) allowed(r Rung) bool {
	return r >= c.options.Require && (c.options.Force == Any || c.options.Force == r)
}

// openNFTLocked makes the nf_tables table, with all claims in it, if there is none.
func (c *Claims) openNFTLocked() (err error) {
	if c.nft != nil {
		return nil
	}
	if !c.allowed(NFT) {
		return fmt.Errorf("nft: not to be tried: %w", unix.EOPNOTSUPP)
	}
	if c.nftLost != nil {
		return c.nftLost
	}
	err = c.space.Do(func() error { c.nft, err = newNFT(); return err })
	if err != nil {
		return fmt.Errorf("nft: %w", needs("CAP_NET_ADMIN of the namespace's owner", err))
	}
	c.nft.syncAll(&c.table)
	if err := c.nft.commit(); err != nil {
		c.loseNFTLocked(err)
		return err
	}
	return nil
}

// loseNFTLocked gives the table up after an error: what cannot be taken out of its sets
// would starve others. Its devices go on without.
func (c *Claims) loseNFTLocked(err error) {
	c.nft.close()
	c.nft, c.nftLost = nil, err
	c.why = errors.Join(c.why, err)
	for _, d := range c.devices {
		if d.rung == NFT {
			*d = device{rung: Holder, why: errors.Join(d.why, err)}
		}
	}
}

// syncNFTLocked makes the sets say of claims what the table says. It returns an error only
// where the rung is required.
func (c *Claims) syncNFTLocked(keys ...Claim) error {
	if c.nft == nil {
		return c.requiredNFT(c.nftLost)
	}
	for _, k := range keys {
		c.nft.sync(&c.table, k)
	}
	err := c.nft.commit()
	if err != nil {
		c.loseNFTLocked(err)
	}
	return c.requiredNFT(err)
}

// requiredNFT returns an error of nf_tables if to be without it is one.
func (c *Claims) requiredNFT(err error) error {
	if err != nil && !c.allowed(Holder) {
		return err
	}
	return nil
}

// attachNFTLocked puts the chain on a device.
func (c *Claims) attachNFTLocked(name string) (*device, error) {
	if err := c.openNFTLocked(); err != nil {
		return nil, err
	}
	chain, err := c.nft.attach(name)
	if err != nil {
		return nil, err
	}
	return &device{rung: NFT, chain: chain}, nil
}
