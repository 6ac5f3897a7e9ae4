"""Bodies of answers, apart from who answers: content codings, validators, and texts that belong to the release. No I/O."""
