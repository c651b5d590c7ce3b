package oracle

func multicastCases() (cases []Case) { return nil }
func multicastSendCases() (cases []Case) { return nil }
