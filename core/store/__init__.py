"""Where things are kept: PostgreSQL, Redis, migrations, and the engines that the hub brings along."""
