"""What is done to texts without a model: by rules, so that one text always gives one result."""
