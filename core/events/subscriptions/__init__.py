"""Durable subscriptions: the log handed out event by event, until each is acknowledged or a dead letter.

    events  --fill-->  deliveries  --lease-->  a consumer  --ack-->  gone
                           ^                       |
                           +--delay--  refuse, or the lease's end  --too often-->  dead_letters

A subscription's cursor moves in the statement that writes the deliveries, so nothing is skipped and nothing placed twice. At most
a window of them is outstanding: a subscription that nobody reads costs nothing but its lag. At least once: what was leased and not
answered in time is handed out again, with the same event id.
"""
