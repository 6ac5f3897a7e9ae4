"""Chats: what people say to each other, and who looks after it."""
