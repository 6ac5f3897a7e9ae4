"""What outlives the request that asked for it, as executions and simulations: how its end is told, and waited for."""
