package oracle

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// sourceOptions are those with one source, in both forms.
var sourceOptions = []struct{ ip, mcast int }{
	{unix.IP_ADD_SOURCE_MEMBERSHIP, unix.MCAST_JOIN_SOURCE_GROUP},
	{unix.IP_DROP_SOURCE_MEMBERSHIP, unix.MCAST_LEAVE_SOURCE_GROUP},
	{unix.IP_BLOCK_SOURCE, unix.MCAST_BLOCK_SOURCE},
	{unix.IP_UNBLOCK_SOURCE, unix.MCAST_UNBLOCK_SOURCE},
}

// startStates are the memberships of a socket before a call.
var startStates = []struct {
	name string
	make func(r *Run, k *Sock, group [4]byte)
}{
	{"no member", func(*Run, *Sock, [4]byte) {}},
	{"member", func(_ *Run, k *Sock, g [4]byte) { k.Join(g) }},
	{"of one source", func(_ *Run, k *Sock, g [4]byte) { k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, g, sourceN(1)) }},
	{"of two sources", func(_ *Run, k *Sock, g [4]byte) {
		k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, g, sourceN(2))
		k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, g, sourceN(1))
	}},
	{"one blocked", func(_ *Run, k *Sock, g [4]byte) {
		k.Join(g)
		k.SourceOption(unix.MCAST_BLOCK_SOURCE, g, sourceN(1))
	}},
	{"one unblocked", func(_ *Run, k *Sock, g [4]byte) {
		k.Join(g)
		k.SourceOption(unix.MCAST_BLOCK_SOURCE, g, sourceN(1))
		k.SourceOption(unix.MCAST_UNBLOCK_SOURCE, g, sourceN(1))
	}},
	{"filter taken away", func(r *Run, k *Sock, g [4]byte) {
		k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, g, sourceN(1))
		k.SetGroup(unix.MCAST_MSFILTER, "exclude none", GroupFilter(r.GroupIndex(), g, unix.MCAST_EXCLUDE, 0))
	}},
}

// sourceCases set source filters.
func sourceCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "sources/" + name, Tops: []Topology{Wire}, Run: run})
	}
	for _, st := range startStates {
		for _, o := range sourceOptions {
			for _, o2 := range sourceOptions {
				add(fmt.Sprintf("%s/%s, %s", st.name, OptionName(unix.SOL_IP, o.mcast), OptionName(unix.SOL_IP, o2.mcast)), func(r *Run) {
					k := r.UDP("a")
					st.make(r, k, groupA)
					k.Filter(groupA)
					k.SourceOption(o.mcast, groupA, sourceN(1))
					k.Filter(groupA)
					k.SourceOption(o2.mcast, groupA, sourceN(2))
					k.SourceOption(o2.mcast, groupA, sourceN(1))
					k.Filter(groupA)
					k.Join(groupA)
					k.Filter(groupA)
					k.Leave(groupA)
				})
			}
			for what := range requests(&Run{}, groupA) {
				add(fmt.Sprintf("%s/%s, %s", st.name, OptionName(unix.SOL_IP, o.ip), what), func(r *Run) {
					for _, g := range [][4]byte{groupA, groupR, stranger, allHosts} {
						k := r.UDP("a")
						st.make(r, k, g)
						v := append(requests(r, g)[what][:8:8], 192, 0, 2, 1)
						k.SetGroup(o.ip, what, v)
						k.Filter(g)
						k.SetGroup(o.ip, what, v)
						k.Filter(g)
						k.Close()
					}
				})
			}
			for _, index := range []int{0, loIndex, deviceIndex, 99, -1} {
				add(fmt.Sprintf("%s/%s, index %d", st.name, OptionName(unix.SOL_IP, o.mcast), index), func(r *Run) {
					for _, g := range [][4]byte{groupA, groupR, stranger, allHosts} {
						k := r.UDP("a")
						st.make(r, k, g)
						k.SetGroup(o.mcast, "it", GroupSourceReq(index, g, unix.AF_INET, sourceN(1)))
						k.Filter(g)
						k.Leave(g)
						k.Close()
					}
				})
			}
		}
	}
	for _, o := range sourceOptions {
		for n := range 17 {
			add(fmt.Sprintf("length/%s of %d", OptionName(unix.SOL_IP, o.ip), n), func(r *Run) {
				k := r.UDP("a")
				k.SetBytes(unix.SOL_IP, o.ip, append(MreqSource(groupA, r.Top.Addrs[Near], sourceN(1)), 0, 0, 0, 0)[:n])
				k.Filter(groupA)
			})
		}
		for _, n := range []int{0, 8, 136, 144, 148, 263, 264, 265, 300} {
			add(fmt.Sprintf("length/%s of %d", OptionName(unix.SOL_IP, o.mcast), n), func(r *Run) {
				k := r.UDP("a")
				k.SetGroup(o.mcast, "it", append(GroupSourceReq(r.GroupIndex(), groupA, unix.AF_INET, sourceN(1)), make([]byte, 40)...)[:n])
				k.Filter(groupA)
			})
		}
		for _, source := range []int{unix.AF_INET, unix.AF_UNSPEC, unix.AF_INET6} {
			for _, group := range []int{unix.AF_INET, unix.AF_UNSPEC, unix.AF_INET6} {
				add(fmt.Sprintf("families/%s, %d and %d", OptionName(unix.SOL_IP, o.mcast), group, source), func(r *Run) {
					k := r.UDP("a")
					k.SetGroup(o.mcast, "it", append(GroupReq(r.GroupIndex(), group, groupA), storage(source, sourceN(1))...))
					k.Filter(groupA)
				})
			}
		}
		add("strange sources/"+OptionName(unix.SOL_IP, o.mcast), func(r *Run) {
			for _, source := range [][4]byte{{}, groupA, everyone, loopback, r.Top.Addrs[Near]} {
				k := r.UDP("a")
				k.SourceOption(o.mcast, groupA, source)
				k.SourceOption(o.mcast, groupA, source)
				k.Filter(groupA)
				k.Close()
			}
		})
	}
	for _, o := range []int{unix.MCAST_JOIN_SOURCE_GROUP, unix.MCAST_BLOCK_SOURCE} {
		add("as many as may be/"+OptionName(unix.SOL_IP, o), func(r *Run) {
			k := r.UDP("a")
			if o == unix.MCAST_BLOCK_SOURCE {
				k.Join(groupA)
			}
			for i := range 12 {
				k.SourceOption(o, groupA, sourceN(40-3*i))
			}
			k.Filter(groupA)
			k.SourceOption(o, groupA, sourceN(40))
			k.SourceOption(o+1, groupA, sourceN(37))
			k.SourceOption(o-1, groupA, sourceN(37))
			k.Filter(groupA)
			k.SourceOption(o, groupA, sourceN(1))
			k.SourceOption(o, groupA, sourceN(37))
			k.Filter(groupA)
		})
	}
	return append(cases, sourceFilterCases()...)
}

// everyone is the limited broadcast address.
var everyone = [4]byte{255, 255, 255, 255}

// sourceFilterCases set and get whole filters.
func sourceFilterCases() (cases []Case) {
	add := func(name string, run func(r *Run)) {
		cases = append(cases, Case{Name: "source filter/" + name, Tops: []Topology{Wire}, Run: run})
	}
	var many [][4]byte
	for i := range 12 {
		many = append(many, sourceN(40-3*i))
	}
	twice := [][4]byte{sourceN(1), sourceN(2), sourceN(1)}
	for _, st := range startStates {
		for _, mode := range []int{unix.MCAST_EXCLUDE, unix.MCAST_INCLUDE, 2, -1} {
			for _, sources := range [][][4]byte{nil, many[:1], many[:2], many[:10], many[:11], twice} {
				add(fmt.Sprintf("%s/mode %d, %d sources", st.name, mode, len(sources)), func(r *Run) {
					k := r.UDP("a")
					st.make(r, k, groupA)
					k.SetGroup(unix.MCAST_MSFILTER, "it", GroupFilter(r.GroupIndex(), groupA, mode, len(sources), sources...))
					k.Filter(groupA)
					k.SourceOption(unix.MCAST_JOIN_SOURCE_GROUP, groupA, sourceN(99))
					k.SourceOption(unix.MCAST_BLOCK_SOURCE, groupA, sourceN(98))
					k.Filter(groupA)
					k.Leave(groupA)
					st.make(r, k, groupR)
					k.SetGroup(unix.IP_MSFILTER, "it", Msfilter(groupR, r.Top.Addrs[Near], mode, len(sources), sources...))
					k.SetGroup(unix.IP_MSFILTER, "it", Msfilter(groupR, anyone, mode, len(sources), sources...))
					k.Filter(groupR)
					k.GetFilter(unix.IP_MSFILTER, Msfilter(groupR, anyone, 0, 12, many...))
				})
			}
		}
		for what := range requests(&Run{}, groupA) {
			add(fmt.Sprintf("%s/%s", st.name, what), func(r *Run) {
				for _, g := range [][4]byte{groupA, groupR, stranger, allHosts} {
					k := r.UDP("a")
					st.make(r, k, g)
					head := requests(r, g)[what]
					for _, mode := range []int{unix.MCAST_EXCLUDE, unix.MCAST_INCLUDE} {
						k.SetGroup(unix.IP_MSFILTER, what, append(append(append(head[:8:8], Int(mode)...), Int(1)...), 192, 0, 2, 5))
						k.GetFilter(unix.IP_MSFILTER, append(append(append(head[:8:8], Int(7)...), Int(2)...), make([]byte, 8)...))
					}
					k.SetGroup(unix.IP_MSFILTER, what, append(append(head[:8:8], Int(unix.MCAST_INCLUDE)...), Int(0)...))
					k.Filter(g)
					k.Close()
				}
			})
		}
		for _, index := range []int{0, loIndex, deviceIndex, 99, -1} {
			add(fmt.Sprintf("%s/index %d", st.name, index), func(r *Run) {
				for _, g := range [][4]byte{groupA, groupR, stranger, allHosts} {
					k := r.UDP("a")
					st.make(r, k, g)
					for _, mode := range []int{unix.MCAST_EXCLUDE, unix.MCAST_INCLUDE} {
						k.SetGroup(unix.MCAST_MSFILTER, "it", GroupFilter(index, g, mode, 2, sourceN(7), sourceN(3)))
						k.GetFilter(unix.MCAST_MSFILTER, GroupFilter(index, g, 7, 3, many[:3]...))
					}
					k.SetGroup(unix.MCAST_MSFILTER, "include none", GroupFilter(index, g, unix.MCAST_INCLUDE, 0))
					k.Filter(g)
					k.Close()
				}
			})
		}
	}
	// Lengths and counts that do not fit each other.
	for _, count := range []int{0, 1, 2, 3, 10, 11, -1, 1 << 30, 1 << 28} {
		for _, n := range []int{0, 1, 4, 8, 12, 15, 16, 17, 20, 24, 28, 64} {
			add(fmt.Sprintf("IP_MSFILTER of %d bytes, count %d", n, count), func(r *Run) {
				k := r.UDP("a")
				k.Join(groupA)
				v := Msfilter(groupA, r.Top.Addrs[Near], unix.MCAST_EXCLUDE, count, many...)
				k.SetGroup(unix.IP_MSFILTER, "it", v[:n])
				k.Filter(groupA)
			})
		}
		for _, n := range []int{0, 8, 136, 143, 144, 145, 271, 272, 400, 528, 1500} {
			add(fmt.Sprintf("MCAST_MSFILTER of %d bytes, count %d", n, count), func(r *Run) {
				k := r.UDP("a")
				k.Join(groupA)
				v := GroupFilter(r.GroupIndex(), groupA, unix.MCAST_EXCLUDE, count, many...)
				k.SetGroup(unix.MCAST_MSFILTER, "it", v[:n])
				k.Filter(groupA)
			})
		}
	}
	for _, room := range []int{0, 1, 2, 3, 4, 100, -1, 1 << 30} {
		add(fmt.Sprintf("get/room for %d", room), func(r *Run) {
			k := r.UDP("a")
			k.Join(groupA)
			k.SetGroup(unix.MCAST_MSFILTER, "it", GroupFilter(r.GroupIndex(), groupA, unix.MCAST_EXCLUDE, 3, many[:3]...))
			k.GetFilter(unix.IP_MSFILTER, Msfilter(groupA, r.Top.Addrs[Near], 7, room, many...))
			k.GetFilter(unix.MCAST_MSFILTER, GroupFilter(r.GroupIndex(), groupA, 7, room, many...))
			for _, n := range []int{0, 8, 15, 16} {
				k.GetFilter(unix.IP_MSFILTER, Msfilter(groupA, r.Top.Addrs[Near], 7, 0)[:n])
			}
			for _, n := range []int{0, 8, 136, 143, 144} {
				k.GetFilter(unix.MCAST_MSFILTER, GroupFilter(r.GroupIndex(), groupA, 7, 0)[:n])
			}
		})
	}
	for _, group := range []int{unix.AF_INET, unix.AF_UNSPEC, unix.AF_INET6} {
		for _, source := range []int{unix.AF_INET, unix.AF_UNSPEC, unix.AF_INET6} {
			add(fmt.Sprintf("families/%d and %d", group, source), func(r *Run) {
				k := r.UDP("a")
				k.Join(groupA)
				v := append(GroupReq(r.GroupIndex(), group, groupA), Int(unix.MCAST_EXCLUDE)...)
				v = append(append(v, Int(1)...), storage(source, sourceN(1))...)
				k.SetGroup(unix.MCAST_MSFILTER, "it", v)
				k.GetFilter(unix.MCAST_MSFILTER, v)
				k.Filter(groupA)
			})
		}
	}
	for _, o := range []int{unix.IP_MSFILTER, unix.MCAST_MSFILTER} {
		for _, n := range []int{65535, 128 << 10, 128<<10 + 1} {
			add(fmt.Sprintf("long/%s of %d bytes", OptionName(unix.SOL_IP, o), n), func(r *Run) {
				k := r.UDP("a")
				k.Join(groupA)
				v := make([]byte, n)
				copy(v, GroupFilter(r.GroupIndex(), groupA, unix.MCAST_EXCLUDE, 1, sourceN(1)))
				if o == unix.IP_MSFILTER {
					copy(v, Msfilter(groupA, r.Top.Addrs[Near], unix.MCAST_EXCLUDE, 1, sourceN(1)))
				}
				k.SetGroup(o, "it", v)
				k.Filter(groupA)
			})
		}
	}
	return cases
}
