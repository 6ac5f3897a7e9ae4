"""Version 3: beta. What it will add comes later; what it has by now answers as in version 2."""

from rest.routes import Version, routes_of

V3 = Version(
    "v3",
    routes=routes_of("agents"),
    status="beta",
    support_level="limited_support",
    features=("enhanced_agents", "ml_pipelines"),
    headers={"API-Status": "beta"},
)
