package oracle

func packetCases() []Case { return nil }
