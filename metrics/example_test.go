package metrics_test

import (
	"expvar"
	"log"
	"net/http"

	"github.com/outband/outband/metrics"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// Prometheus finds the counters at /metrics, and /debug/vars has them as JSON.
func Example() {
	st, err := stack.New(stack.Config{}) // or outband.Open
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	host := sockapi.New(st)
	http.Handle("/metrics", metrics.Hosts{"": host})
	expvar.Publish("outband", metrics.Var(host))
	// http.ListenAndServe("localhost:9100", nil)
}
