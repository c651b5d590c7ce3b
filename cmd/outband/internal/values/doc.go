// Package values has the values that flags of the command take: what is wrong with one,
// its error says in words, with the range.
package values
