"""Simulations of twins as clients ask for them: begun, followed, cancelled, kept. What is run: handlers/twins/simulation."""
