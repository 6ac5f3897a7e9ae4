"""Version 1: deprecated, served until HUB_V1 is off; then 410, with the same link to what to do."""

from datetime import date

from rest.executions import EXECUTE, EXECUTE_INPUT
from rest.knowledge import QUERY
from rest.routes import Version, routes_of
from rest.simulations import SIMULATE

# Notice was given six months before the sunset: 2024-06-30T00:00:00Z.
DEPRECATED_AT = 1719705600
GUIDE = "/docs/migration-v1-v2.md"

V1 = Version(
    "v1",
    routes=(
        *EXECUTE_INPUT,
        *routes_of("agents"),
        *EXECUTE,
        *routes_of("knowledge"),
        *QUERY,
        *routes_of("twins"),
        *SIMULATE,
    ),
    status="deprecated",
    support_level="security_fixes_only",
    features=("agents", "knowledge", "twins"),
    has_batch=True,
    sunset=date(2024, 12, 31),
    guide=GUIDE,
    headers={
        "Deprecation": f"@{DEPRECATED_AT}",  # RFC 9745, section 2.1
        "Sunset": "Tue, 31 Dec 2024 00:00:00 GMT",  # RFC 8594, section 3
        "Link": f'<{GUIDE}>; rel="deprecation"; type="text/markdown", <{GUIDE}>; rel="sunset"; type="text/markdown"',
    },
)
