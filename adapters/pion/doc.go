// Package pion gives pion's libraries - ICE, TURN, DTLS, WebRTC - connections of a stack: it is
// their transport.Net.
//
//	h, err := outband.Open(ctx, "eth1")
//	agent, err := ice.NewAgentWithOptions(ice.WithNet(pion.New(h)))
//
// Interfaces and addresses are the stack's, so that the candidates of ICE are what the stack
// can be reached at. TCP is not the stack's: see [Net].
package pion
