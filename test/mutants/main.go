// Command mutants looks for lines that no test misses. It changes one thing at a
// time in the code of a package - a guard off, a condition negated, a bound shifted
// by one, a statement dropped - runs the tests of the package's room that come by there,
// the quickest first, and tells which changes they let pass.
//
//	go run ./test/mutants ./stack                 # 100 mutants, chosen by -seed
//	go run ./test/mutants -only guard,wake -n 0 ./stack ./sockapi
//	go run ./test/mutants -changed HEAD~20 ./...  # of lines that have changed since
//	go run ./test/mutants -own -n 0 ./stack/internal/queue  # judged by its own tests only
//	go run ./test/mutants -n 0 ./stack > FILE; go run ./test/mutants -n 0 -again FILE ./stack  # the survivors once more
//
// Those that change nothing do not count: equivalent.txt lists them, with the reason.
// Those that change something, and are let live, are listed in survivors.txt: they count, and
// a run says which of them live no more.
// Nothing in the tree is written: all mutants are built at once by go's -overlay, and one
// of them is chosen by the environment.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// enough is how many mutants make a part of them worth a judgement.
const enough = 10

func main() {
	log.SetFlags(0)
	var (
		most    = flag.Int("n", 100, "how many mutants to try at most; 0: all")
		seed    = flag.Uint64("seed", 1, "which mutants are chosen")
		only    = flag.String("only", "", "classes to try: guard, limit, wake, other (all)")
		changed = flag.String("changed", "", "try lines only that have changed since this revision")
		least   = flag.Float64("least", 0, "fail if a smaller part dies, in percent, of ten or more")
		bound   = flag.Duration("for", 0, "stop after this time (none)")
		own     = flag.Bool("own", false, "judge a package by its own tests only, not by those of the package that it is a part of")
		dir     = flag.String("keep", "", "a directory for what was found: a run goes on where the one before has ended")
		lived   = flag.String("again", "", "try only what has survived in a run before, whose output is in this file")
		at      = flag.Int("at-once", 1, "how many mutants to try at once")
		list    = flag.Bool("list", false, "list the mutants, run nothing")
	)
	flag.Parse()
	all, err := find(flag.Args(), *changed)
	if err == nil {
		all, err = withoutEquivalents(all)
	}
	if err == nil && *lived != "" {
		all, err = again(all, *lived)
	}
	if err != nil {
		log.Fatal(err)
	}
	chosen := choose(all, *only, *most, *seed)
	fmt.Printf("%d of %d mutants\n", len(chosen), len(all))
	if *list {
		for _, m := range chosen {
			fmt.Println(m)
		}
		return
	}
	o := options{own: *own, dir: *dir, at: *at}
	if *bound > 0 {
		o.end = time.Now().Add(*bound)
	}
	c, err := run(chosen, o)
	if err != nil {
		log.Fatal(err)
	}
	c.print(os.Stdout)
	if c.tried() >= enough && c.percent() < *least {
		fmt.Printf("mutants: fewer than %.0f %% died\n", *least)
		os.Exit(1)
	}
}

// choose returns at most so many mutants of some classes, in an order by the seed.
func choose(all []mutant, only string, most int, seed uint64) []mutant {
	var chosen []mutant
	for _, m := range all {
		if only == "" || strings.Contains(","+only+",", ","+m.class+",") {
			chosen = append(chosen, m)
		}
	}
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	if most > 0 && len(chosen) > most {
		chosen = chosen[:most]
	}
	return chosen
}
