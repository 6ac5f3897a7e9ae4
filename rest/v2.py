"""Version 2: stable; what an unversioned path means where no API-Version is given."""

from rest.branches import BRANCHES
from rest.channels import CHANNELS
from rest.chats import CHATS
from rest.connections import CONNECTIONS
from rest.documents import DOCUMENTS
from rest.executions import EXECUTE, EXECUTIONS
from rest.jobs import JOBS
from rest.keys import KEYS
from rest.knowledge import EVALUATE, QUERY, QUERY_ALL
from rest.knowledge_life import KNOWLEDGE_LIFE
from rest.namespaces import NAMESPACES
from rest.reading import READING
from rest.routes import Version, routes_of
from rest.sessions import SESSIONS
from rest.simulations import SIMULATE, SIMULATIONS
from rest.subscriptions import SUBSCRIPTIONS
from rest.telemetry import TELEMETRY
from rest.twin_sync import TWIN_SYNC
from rest.twins import TWINS
from rest.webhooks import WEBHOOKS

V2 = Version(
    "v2",
    routes=(
        *routes_of("agents"),
        *SESSIONS,
        *EXECUTE,
        *EXECUTIONS,
        *routes_of("knowledge"),
        *QUERY,
        *QUERY_ALL,
        *EVALUATE,
        *BRANCHES,
        *routes_of("twins"),
        *SIMULATE,
        *SIMULATIONS,
        *TWIN_SYNC,
        *TWINS,
        *TELEMETRY,
        *READING,
        *KEYS,
        *CONNECTIONS,
        *CHANNELS,
        *JOBS,
        *DOCUMENTS,
        *KNOWLEDGE_LIFE,
        *SUBSCRIPTIONS,
        *WEBHOOKS,
        *NAMESPACES,
        *CHATS,
    ),
    status="stable",
    support_level="full_support",
    features=("agents", "knowledge", "twins"),
    has_batch=True,
    moves_knowledge=True,
)
