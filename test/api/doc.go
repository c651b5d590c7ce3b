// Package api writes down what programs may come to use: exported names with their types, a line
// each. Those of the packages that are meant to stay are in api/next.txt, which a change of them
// changes, and which is made anew by
//
//	go test ./test -run TestAPI -update
package api
