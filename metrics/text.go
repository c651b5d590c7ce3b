package metrics

import (
	"io"
	"strconv"
	"strings"
)

// A label is one name and value in a sample's braces.
type label struct{ name, value string }

// A sample is one value of a metric.
type sample struct {
	labels []label
	value  uint64
}

// A metric is what one # TYPE line is about.
type metric struct {
	name, help string
	gauge      bool // else it is a counter
	samples    []sample
}

// A page is metrics in the order in which they were found first.
type page struct {
	metrics []*metric
	byName  map[string]*metric
}

// add adds a value of a metric.
func (p *page) add(name, help string, gauge bool, value uint64, labels ...label) {
	m := p.byName[name]
	if m == nil {
		m = &metric{name: name, help: help, gauge: gauge}
		if p.byName == nil {
			p.byName = make(map[string]*metric)
		}
		p.byName[name] = m
		p.metrics = append(p.metrics, m)
	}
	m.samples = append(m.samples, sample{labels, value})
}

// escape is what the text format wants escaped in the values of labels.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// WriteTo implements io.WriterTo: it writes the text format, version 0.0.4.
func (p *page) WriteTo(w io.Writer) (int64, error) {
	var b []byte
	for _, m := range p.metrics {
		kind := "counter"
		if m.gauge {
			kind = "gauge"
		}
		b = append(b, "# HELP "+m.name+" "+m.help+"\n# TYPE "+m.name+" "+kind+"\n"...)
		for _, s := range m.samples {
			b = append(b, m.name...)
			for i, l := range s.labels {
				b = append(b, "{,"[min(i, 1)])
				b = append(b, l.name+`="`+escape.Replace(l.value)+`"`...)
			}
			if len(s.labels) > 0 {
				b = append(b, '}')
			}
			b = append(strconv.AppendUint(append(b, ' '), s.value, 10), '\n')
		}
	}
	n, err := w.Write(b)
	return int64(n), err
}
