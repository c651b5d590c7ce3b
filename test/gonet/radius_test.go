package gonet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
)

var secret = []byte("secret")

// runRADIUS has clients, which open in-band connections of their own, ask whether users may come
// in.
func runRADIUS(t *testing.T, w *world, client, server *host) {
	s := &radius.PacketServer{SecretSource: radius.StaticSecretSource(secret), Handler: radius.HandlerFunc(func(w radius.ResponseWriter, r *radius.Request) {
		code := radius.CodeAccessReject
		if rfc2865.UserName_GetString(r.Packet) == "friend" && rfc2865.UserPassword_GetString(r.Packet) == "mellon" {
			code = radius.CodeAccessAccept
		}
		w.Write(r.Response(code))
	})}
	c := server.listen(t, 1812)
	done := make(chan error, 1)
	go func() { done <- s.Serve(c) }()
	asker := radius.Client{Retry: 100 * time.Millisecond, MaxPacketErrors: 10}
	w.rounds(t, func(int) {
		for i := range 50 {
			p := radius.New(radius.CodeAccessRequest, secret)
			user, want := "friend", radius.CodeAccessAccept
			if i%2 == 1 {
				user, want = fmt.Sprint("foe", i), radius.CodeAccessReject
			}
			check(t, rfc2865.UserName_SetString(p, user))
			check(t, rfc2865.UserPassword_SetString(p, "mellon"))
			var r *radius.Packet
			check(t, client.do(func() (err error) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				r, err = asker.Exchange(ctx, p, server.port(1812).String())
				return err
			}))
			if r.Code != want {
				t.Errorf("%s: %v", user, r.Code)
			}
		}
	})
	check(t, s.Shutdown(t.Context()))
	if err := <-done; !errors.Is(err, radius.ErrServerShutdown) {
		t.Error("Serve:", err)
	}
}
