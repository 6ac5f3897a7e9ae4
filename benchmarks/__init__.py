"""What the hub costs, measured from outside: real engines, real sockets, one core for the server. `python -m benchmarks`."""
