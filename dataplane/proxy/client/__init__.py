"""The client's side: its connection, the heads that it sends, its credential, and the line at the door."""
