"""Webhooks: events posted to a receiver's URL, signed, until it has said 2xx or its time is over.

A webhook is a push subscription (core/events/subscriptions/) of the same id, with a URL and a secret. Each node has a Pusher:

    ready subscriptions --lease--> Sender --POST--> receiver
              ^                      |
              +------ settle --------+      one statement for what many receivers said

What an endpoint may be sent at once is its Circuit's say, so that one that hangs or is gone takes nothing from the others.
"""
