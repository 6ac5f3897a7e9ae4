"""Alembic's entry: runs the revisions on the connection that migrate.py hands over. No autogeneration, no offline mode."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema="hub", transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
