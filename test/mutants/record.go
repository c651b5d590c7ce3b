package main

import (
	"encoding/json"
	"os"
)

// A record is what is known of a room from runs before, so that a long run can be made
// in pieces, and again after tests have come. It is about binaries: what another one
// said does not count.
type record struct {
	file   string
	Judges map[string]judged // by the hash of their binary
	Fates  map[int]outcome
}

// judged is what has been measured of a judge.
type judged struct{ Tests []test }

// An outcome is the fate of a mutant, and the binaries that said so: the one that noticed
// it, or all.
type outcome struct {
	Fate fate
	By   []string
}

// readRecord reads a record; without a file name it is empty, and kept nowhere.
func readRecord(file string) *record {
	r := &record{file: file, Judges: make(map[string]judged), Fates: make(map[int]outcome)}
	if b, err := os.ReadFile(file); err == nil {
		json.Unmarshal(b, r)
	}
	return r
}

func (r *record) write() error {
	if r.file == "" {
		return nil
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(r.file+".new", r.file)
}

// recall has a judge know its tests, and reports whether it does.
func (r *record) recall(j *judge) bool {
	known, ok := r.Judges[j.hash]
	j.tests = known.Tests
	return ok
}

func (r *record) keep(j *judge) {
	if !j.partial {
		r.Judges[j.hash] = judged{j.tests}
	}
}

// fate returns what became of a mutant, if all who said so are still there.
func (r *record) fate(number int, judges []*judge) (fate, bool) {
	o, ok := r.Fates[number]
	if !ok || len(o.By) == 0 || o.Fate == undecided || o.Fate.lives() && len(o.By) != len(judges) {
		return 0, false
	}
	there := make(map[string]bool)
	for _, j := range judges {
		there[j.hash] = true
	}
	for _, hash := range o.By {
		if !there[hash] {
			return 0, false
		}
	}
	return o.Fate, true
}

func (r *record) add(number int, f fate, by *judge, judges []*judge) {
	o := outcome{Fate: f}
	if by != nil {
		o.By = []string{by.hash}
	} else {
		for _, j := range judges {
			o.By = append(o.By, j.hash)
		}
	}
	r.Fates[number] = o
}
