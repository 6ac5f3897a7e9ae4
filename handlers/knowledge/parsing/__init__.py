"""Documents become chunks: each format is read by a kept library, in processes of their own with limits of time and memory."""
