"""The stream: a WebSocket door that pushes every change of the channels that a client names. Wire form: docs/protocol.md."""
