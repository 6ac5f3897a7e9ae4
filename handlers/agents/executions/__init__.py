"""Executions of agents: fenced runs that survive the process that was writing."""
