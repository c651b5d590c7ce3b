package follow

type Groups struct{}

func OpenGroups() (*Groups, error)                                      { return &Groups{}, nil }
func (g *Groups) Set(group [4]byte, d int32, ex bool, s [][4]byte) error { return nil }
func (g *Groups) Leave(group [4]byte, d int32) error                     { return nil }
func (g *Groups) Close()                                                 {}
