"""What a node shows of itself: metrics, its streams and those of the other nodes, the frames of one stream."""
