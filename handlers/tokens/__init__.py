"""Tokens that the hub signs, for a customer's own users."""
