"""API keys: made, changed, rotated and revoked by those who may."""
