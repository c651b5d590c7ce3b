package bench

import "testing"

func TestSummarize(t *testing.T) {
	thousand := make([]int64, 1000)
	for i := range thousand {
		thousand[i] = int64(1000 - i) // 1000 down to 1
	}
	tests := []struct {
		name string
		rtt  []int64
		want Summary
	}{
		{"none", nil, Summary{}},
		{"one", []int64{7}, Summary{7, 7, 7, 7, 0}},
		{"two", []int64{9, 3}, Summary{3, 9, 9, 9, 0}},
		{"thousand", thousand, Summary{1, 501, 991, 1000, 0}},
		{"slow ones", []int64{SlowTrip, SlowTrip + 1, 1, SlowTrip * 2}, Summary{1, SlowTrip + 1, SlowTrip * 2, SlowTrip * 2, 0.5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := summarize(tt.rtt); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	tests := []struct {
		values []int
		want   int
	}{{nil, 0}, {[]int{5}, 5}, {[]int{5, 1}, 1}, {[]int{3, 1, 2}, 2}, {[]int{4, 1, 3, 2}, 2}}
	for _, tt := range tests {
		if got := median(tt.values); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.values, got, tt.want)
		}
	}
}

func TestMediansAreTakenEachForItself(t *testing.T) {
	got := medians([]Summary{{1, 20, 300, 4000, 0.1}, {2, 30, 100, 5000, 0.3}, {3, 10, 200, 6000, 0.2}})
	if want := (Summary{2, 20, 200, 5000, 0.2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRatio(t *testing.T) {
	if got := ratio(1, 3); *got != 0.33 {
		t.Errorf("1/3: %v", *got)
	}
	if got := ratio(1, 0); got != nil {
		t.Errorf("1/0: %v", *got)
	}
}
